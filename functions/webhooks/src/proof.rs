//! Verifies where a delivery comes from: by a signature (HMAC) with a timestamp, or by a shared secret. Secrets are
//! compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::HeaderName;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;
use time::{Duration, OffsetDateTime};

/// Why Flexgate rejects a delivery as forged. Only the log contains the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unproven {
    /// The header with the signature or the secret is missing, repeated or not text.
    #[error("the header {0} is missing, repeated or not text")]
    Header(&'static str),
    /// A proof header is malformed.
    #[error("the header {0} is malformed")]
    Malformed(&'static str),
    /// The timestamp is too old, or in the future.
    #[error("the signature's time is out of bounds")]
    Time,
    /// No signature or secret matches.
    #[error("no signature or secret is right")]
    Wrong,
    /// The body should contain the secret, but does not have the expected form.
    #[error("the body that holds the proof cannot be read")]
    Body,
}

/// Returns the header's value. A missing or repeated header is an error.
pub(crate) fn one<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<&'h str, Unproven> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(text)), None) => Ok(text),
        _ => Err(Unproven::Header(name)),
    }
}

/// HMAC-SHA256 over the parts.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Whether two byte strings are the same.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Checks that a time differs from now by at most `window`. `text` must be a decimal number of `unit`s since 1970. If
/// the unit is a second, a time in milliseconds looks like a time far in the future, and so fails the check.
pub(crate) fn within(text: &str, unit: Duration, window: Duration, now: OffsetDateTime) -> Result<(), Unproven> {
    let plain = !text.is_empty() && text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit());
    let count: i64 = text.parse().ok().filter(|_| plain).ok_or(Unproven::Time)?;
    let nanos = i128::from(count) * unit.whole_nanoseconds();
    // Senders round their time down to whole units, so round the current time down too.
    let now = now.unix_timestamp_nanos().div_euclid(unit.whole_nanoseconds()) * unit.whole_nanoseconds();
    if (now - nanos).abs() <= window.whole_nanoseconds() { Ok(()) } else { Err(Unproven::Time) }
}

/// How to verify a signature header of the form `t=<time>,v1=<hex>[,v1=<hex>]`.
pub(crate) struct Timestamped {
    pub(crate) header: &'static str,
    /// The unit of the timestamp.
    pub(crate) unit: Duration,
    /// The largest accepted difference between the timestamp and the current time.
    pub(crate) window: Duration,
}

impl Timestamped {
    /// Checks that the header contains a signature over the time, a dot and the body, made with one of the secrets.
    pub(crate) fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        secrets: &[SecretString],
        now: OffsetDateTime,
    ) -> Result<(), Unproven> {
        let malformed = Unproven::Malformed(self.header);
        let (mut time, mut signatures) = (None, Vec::new());
        for item in one(headers, self.header)?.split(',') {
            match item.trim().split_once('=').ok_or(malformed)? {
                ("t", value) if time.is_none() => time = Some(value),
                ("t", _) => return Err(malformed),
                ("v1", value) => signatures.push(unhex(value).ok_or(malformed)?),
                // A source may add new signature schemes, so ignore unknown ones.
                _ => {}
            }
        }
        let time = time.ok_or(malformed)?;
        within(time, self.unit, self.window, now)?;
        let right = secrets.iter().any(|secret| {
            let tag = hmac_sha256(secret.expose_secret().as_bytes(), &[time.as_bytes(), b".", body]);
            signatures.iter().any(|signature| same(signature, tag.as_ref()))
        });
        if right { Ok(()) } else { Err(Unproven::Wrong) }
    }
}

/// Decodes 32 bytes from hexadecimal.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return None;
    }
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?)).collect()
}

/// Checks that the header contains one of the secrets: alone, as a bearer token, or as the `user:password` of HTTP
/// Basic.
pub(crate) fn shared_secret(
    headers: &HeaderMap,
    header: &HeaderName,
    secrets: &[SecretString],
) -> Result<(), Unproven> {
    let mut values = headers.get_all(header).into_iter();
    let (Some(Ok(text)), None) = (values.next().map(|value| value.to_str()), values.next()) else {
        return Err(Unproven::Header("with the secret"));
    };
    let mut presented = vec![text.as_bytes().to_vec()];
    match text.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => presented.push(rest.trim().into()),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => {
            presented.extend(STANDARD.decode(rest.trim()).ok());
        }
        _ => {}
    }
    let right = |secret: &SecretString| presented.iter().any(|one| same(one, secret.expose_secret().as_bytes()));
    if secrets.iter().any(right) { Ok(()) } else { Err(Unproven::Wrong) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    #[test]
    fn w02_a_time_is_digits_within_the_window() {
        let check = |text: &str| within(text, Duration::SECOND, Duration::minutes(5), NOW);
        let now = NOW.unix_timestamp();
        for offset in [-300, 0, 300] {
            assert_eq!(check(&(now + offset).to_string()), Ok(()), "{offset}");
        }
        for text in [
            (now - 301).to_string(),
            (now + 301).to_string(),
            (now * 1000).to_string(),
            format!("+{now}"),
            format!("{now}.0"),
            format!(" {now}"),
            "-1".into(),
            "now".into(),
            String::new(),
            "9".repeat(40),
        ] {
            assert_eq!(check(&text), Err(Unproven::Time), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "\\PC{0,120}", body in any::<Vec<u8>>()) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = text.parse() {
                headers.insert("workos-signature", value);
            }
            let scheme = Timestamped { header: "workos-signature", unit: Duration::MILLISECOND, window: Duration::minutes(3) };
            prop_assert!(scheme.verify(&headers, &body, &["k3J9x7Qp2LmN8vRt".into()], NOW).is_err());
        }

        #[test]
        fn only_the_bytes_signed_are_accepted(body in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
            prop_assume!(body != other);
            let key = "k3J9x7Qp2LmN8vRt";
            let time = NOW.unix_timestamp().to_string();
            let tag = hmac_sha256(key.as_bytes(), &[time.as_bytes(), b".", &body]);
            let hex = tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let mut headers = HeaderMap::new();
            headers.insert("zitadel-signature", format!("t={time},v1={hex}").parse().unwrap());
            let scheme = Timestamped { header: "zitadel-signature", unit: Duration::SECOND, window: Duration::minutes(5) };
            prop_assert_eq!(scheme.verify(&headers, &body, &[key.into()], NOW), Ok(()));
            prop_assert_eq!(scheme.verify(&headers, &other, &[key.into()], NOW), Err(Unproven::Wrong));
        }
    }
}
