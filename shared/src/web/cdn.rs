//! Refuses requests that did not come through the CDN.
//!
//! A CDN can stop floods only if nobody reaches Flexgate without it. So the CDN adds a header with a secret to every
//! request, and Flexgate compares the SHA-256 of the secret with a setting. The hash may be public, because nobody can
//! guess a random secret from it. A second header contains the client's address.

use std::str::FromStr;

use http::{HeaderMap, HeaderName};
use ring::digest;

use super::client::Peer;
use crate::base::settings::Reader;

/// The header with the secret. infra/edge.yaml sets it.
const X_FLEXGATE_CDN: HeaderName = HeaderName::from_static("x-flexgate-cdn");

/// The header with the client's address. infra/edge.yaml sets it.
const X_FLEXGATE_CLIENT: HeaderName = HeaderName::from_static("x-flexgate-client");

/// The maximum number of hashes. Two are enough to replace a secret.
const MOST_SECRETS: usize = 4;

/// The settings for refusing requests that did not come through the CDN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CdnSettings {
    /// `FLEXGATE_CDN_SECRET_SHA256`: the hashes of the secrets that the CDN may send. Without hashes, Flexgate does not
    /// require a CDN.
    secrets: Vec<SecretHash>,
}

impl CdnSettings {
    /// Reads this group of settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let secrets = reader.optional("FLEXGATE_CDN_SECRET_SHA256", |text| {
            let secrets = text.split(',').map(|hash| hash.trim().parse()).collect::<Result<Vec<_>, _>>()?;
            if secrets.len() > MOST_SECRETS { Err("holds more than four hashes") } else { Ok(secrets) }
        })?;
        Some(Self { secrets: secrets.unwrap_or_default() })
    }

    /// Whether every request must come through the CDN.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Whether Flexgate accepts a request with these headers.
    pub(super) fn accepts(&self, headers: &HeaderMap) -> bool {
        if self.secrets.is_empty() {
            return true;
        }
        let mut sent = headers.get_all(X_FLEXGATE_CDN).iter().map(|value| SecretHash::of(value.as_bytes()));
        sent.any(|hash| self.secrets.contains(&hash))
    }
}

impl CdnSettings {
    /// Returns the client's address from the CDN's header in an accepted request. `None` if no CDN is required, or if
    /// the CDN names no client.
    pub(super) fn client(&self, headers: &HeaderMap) -> Option<Peer> {
        if !self.is_required() {
            return None;
        }
        let mut named = headers.get_all(X_FLEXGATE_CLIENT).iter();
        let (client, more) = (named.next()?, named.next());
        // The CDN should replace this header if the client sends it. If two such headers arrive, one of them may come
        // from the client. So use neither.
        if more.is_some() { None } else { Peer::of_cdn(client.to_str().ok()?) }
    }
}

/// The SHA-256 of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SecretHash([u8; 32]);

impl SecretHash {
    fn of(secret: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        Self(hash)
    }
}

impl FromStr for SecretHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MUST: &str = "must be SHA-256 hashes of 64 hexadecimal digits, separated by commas";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(MUST);
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| MUST)?;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SHA-256 of `abc`, from FIPS 180-2.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn read(text: &str) -> Result<CdnSettings, String> {
        let mut reader = Reader::empty().with([("FLEXGATE_CDN_SECRET_SHA256", text)]);
        let settings = CdnSettings::read(&mut reader);
        reader.finish(settings).map_err(|error| error.to_string())
    }

    fn headers(secrets: &[&str]) -> HeaderMap {
        let value = |secret: &&str| http::HeaderValue::from_bytes(secret.as_bytes()).unwrap();
        secrets.iter().map(|secret| (X_FLEXGATE_CDN, value(secret))).collect()
    }

    #[test]
    fn only_requests_with_a_secret_of_the_list_are_accepted() {
        let both = format!("{}, {ABC}", "0".repeat(64));
        for settings in [read(ABC).unwrap(), read(&both).unwrap(), read(&ABC.to_uppercase()).unwrap()] {
            assert!(settings.accepts(&headers(&["abc"])));
            for refused in [&[][..], &["abd"], &["ab"], &[""], &["abcä"], &[ABC]] {
                assert!(!settings.accepts(&headers(refused)), "{refused:?}");
            }
            // The client has sent this header with a guessed secret, and the CDN has added the header with the right
            // secret.
            assert!(settings.accepts(&headers(&["guess", "abc"])));
        }
    }

    #[test]
    fn without_the_setting_every_request_is_accepted() {
        let settings = read("").unwrap();
        assert!(settings.accepts(&headers(&[])) && !settings.is_required());
    }

    #[test]
    fn a_mistake_is_named() {
        let five = [ABC; 5].join(",");
        for wrong in ["secret", &ABC[1..], &format!("{ABC}0"), &format!("{ABC},"), &"ä".repeat(32), &five] {
            assert!(read(wrong).unwrap_err().contains("FLEXGATE_CDN_SECRET_SHA256"), "{wrong}");
        }
    }
}
