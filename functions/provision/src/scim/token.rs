//! The bearer tokens of identity systems. Tokens are long and random, and Flexgate stores only their hashes.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate::base::clock_rng::{ClockRng, Rng, random};
use flexgate::base::outbound::Deadline;
use flexgate::secrets::{CachedSecret, SecretError, SecretSource};
use http::{HeaderMap, Uri, header};
use ring::digest;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// Every token begins with this prefix, so that programs that search for leaked secrets recognise a token.
const PREFIX: &str = "fgscim_";

/// The maximum number of valid tokens. Two are valid while an administrator replaces one with the other.
const MAX_LIVE: usize = 2;

/// The content of the secret: `{"tokens": [{"id": "…", "sha256": "…"}]}`, with at most two tokens. If the list is
/// empty, nobody has access.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Listed", into = "Listed")]
pub struct TokenHashes(Vec<TokenHash>);

#[derive(Clone)]
struct TokenHash {
    id: String,
    sha256: [u8; 32],
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

#[derive(Serialize, Deserialize)]
struct Listed {
    tokens: Option<Vec<ListedToken>>,
}

#[derive(Serialize, Deserialize)]
struct ListedToken {
    id: String,
    sha256: String,
}

impl From<TokenHashes> for Listed {
    fn from(hashes: TokenHashes) -> Self {
        let listed = |token: TokenHash| ListedToken { id: token.id, sha256: URL_SAFE_NO_PAD.encode(token.sha256) };
        Self { tokens: Some(hashes.0.into_iter().map(listed).collect()) }
    }
}

impl TryFrom<Listed> for TokenHashes {
    type Error = &'static str;

    fn try_from(listed: Listed) -> Result<Self, Self::Error> {
        let listed = listed.tokens.unwrap_or_default();
        if listed.len() > MAX_LIVE {
            return Err("it may hold two tokens at most");
        }
        let read = |token: ListedToken| {
            let id_is_plain = (1..=32).contains(&token.id.len()) && token.id.bytes().all(|b| b.is_ascii_graphic());
            let sha256 = URL_SAFE_NO_PAD.decode(&token.sha256).ok()?.try_into().ok()?;
            id_is_plain.then_some(TokenHash { id: token.id, sha256 })
        };
        let tokens: Option<Vec<_>> = listed.into_iter().map(read).collect();
        tokens.map(Self).ok_or("each token needs an id and its sha256 in base64url")
    }
}

/// A new token, which is shown only once.
#[derive(Debug)]
pub struct NewToken {
    /// The token.
    pub token: SecretString,
    /// What the secret must contain so that Flexgate accepts the token: the token's hash, not the token itself.
    pub hashes: TokenHashes,
}

impl NewToken {
    /// Generates a token. Audit events identify the token by `id`.
    #[must_use]
    pub fn generate(id: &str, rng: &dyn Rng) -> Self {
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random::<32>(rng)));
        let hash = TokenHash { id: id.to_owned(), sha256: sha256(&text) };
        Self { token: SecretString::from(text), hashes: TokenHashes(vec![hash]) }
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

/// The result of verifying a request's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verified {
    /// The request has the valid token with this `id`.
    Token(String),
    /// The request has no valid token.
    No,
    /// The request has a token, but no token is valid, because the secret contains none.
    NoneIsValid,
}

/// Verifies tokens.
#[derive(Debug)]
pub struct Tokens(CachedSecret<TokenHashes>);

impl Tokens {
    /// Creates a verifier that reads the token hashes from the secret `id`.
    #[must_use]
    pub fn new(id: &str, source: Arc<dyn SecretSource>, clock_rng: &ClockRng) -> Self {
        Self(CachedSecret::that_may_be_unset(id, source, clock_rng.clock.clone()))
    }

    /// Returns the name of the secret.
    pub(crate) fn secret_id(&self) -> &str {
        self.0.id()
    }

    /// Prefetches the hashes. If this fails, the first request reads them.
    pub async fn prewarm(&self, deadline: Deadline) {
        let _read = self.0.get(deadline).await;
    }

    /// Verifies the token of a request.
    ///
    /// Refuses any request with a token in its URL, because servers and proxies log URLs.
    pub(crate) async fn verify(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        deadline: Deadline,
    ) -> Result<Verified, SecretError> {
        let query = uri.query().unwrap_or_default();
        let in_address = url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
            value.contains(PREFIX) || name.eq_ignore_ascii_case("access_token") || name.eq_ignore_ascii_case("token")
        });
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(authorization), None, false) = (authorizations.next(), authorizations.next(), in_address) else {
            return Ok(Verified::No);
        };
        let Some(unverified_token) = bearer(authorization) else { return Ok(Verified::No) };
        let hash = sha256(unverified_token);
        // The token may be newer than the cached secret. So if the cached secret does not contain the hash, read the
        // secret again.
        let held = self.0.get_accepted(deadline, |hashes| hashes.id_of(&hash).is_some()).await?;
        Ok(match held.value.id_of(&hash) {
            Some(id) => Verified::Token(id),
            None if held.value.is_empty() => Verified::NoneIsValid,
            None => Verified::No,
        })
    }
}

impl TokenHashes {
    /// Whether no token is valid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn id_of(&self, hash: &[u8; 32]) -> Option<String> {
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.sha256.ct_eq(hash)) {
                found = Some(token.id.clone());
            }
        }
        found
    }
}

fn bearer(authorization: &http::HeaderValue) -> Option<&str> {
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let plausible = scheme.eq_ignore_ascii_case("bearer") && token.starts_with(PREFIX) && token.len() <= 128;
    plausible.then_some(token)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use flexgate::base::clock_rng::SystemRng;

    #[test]
    fn the_document_holds_the_hash_and_never_the_token() {
        let made = NewToken::generate("first", &SystemRng);
        let document = serde_json::to_string(&made.hashes).unwrap();
        assert!(!document.contains(made.token.expose_secret()));
        let read: TokenHashes = serde_json::from_str(&document).unwrap();
        assert_eq!(read.id_of(&sha256(made.token.expose_secret())).as_deref(), Some("first"));
        assert_eq!(read.id_of(&sha256("fgscim_other")), None);
    }

    #[test]
    fn a_document_of_three_tokens_or_of_half_a_token_is_refused() {
        let token = serde_json::json!({ "id": "a", "sha256": URL_SAFE_NO_PAD.encode([0; 32]) });
        for (count, is_good) in [(0, true), (1, true), (2, true), (3, false)] {
            let document = serde_json::json!({ "tokens": vec![token.clone(); count] });
            assert_eq!(serde_json::from_value::<TokenHashes>(document).is_ok(), is_good, "{count}");
        }
        let short = serde_json::json!({ "tokens": [{ "id": "a", "sha256": "AAAA" }] });
        assert!(serde_json::from_value::<TokenHashes>(short).is_err());
    }
}
