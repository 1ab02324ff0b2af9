//! Signs JWTs with any header, claims and key, so that tests can make invalid tokens too.

use serde_json::{Map, Value, json};

use super::keys::SigningKey;
use crate::web;

/// The key or the secret that signs a token.
pub(super) enum Signer<'a> {
    Key(&'a SigningKey),
    Hmac(&'a [u8]),
}

/// Returns `header.claims.signature`. The algorithm `none` gives an empty signature.
pub(super) fn compact(header: &Map<String, Value>, claims: &Map<String, Value>, signer: &Signer<'_>) -> Option<String> {
    let encode = |members: &Map<String, Value>| serde_json::to_vec(members).ok().map(web::b64url);
    let input = format!("{}.{}", encode(header)?, encode(claims)?);
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let signature = match signer {
        _ if algorithm.eq_ignore_ascii_case("none") => Vec::new(),
        Signer::Key(key) => key.sign(algorithm, input.as_bytes())?,
        Signer::Hmac(secret) => {
            let digest = match algorithm {
                "HS384" => ring::hmac::HMAC_SHA384,
                "HS512" => ring::hmac::HMAC_SHA512,
                _ => ring::hmac::HMAC_SHA256,
            };
            ring::hmac::sign(&ring::hmac::Key::new(digest, secret), input.as_bytes()).as_ref().to_vec()
        }
    };
    Some(format!("{input}.{}", web::b64url(signature)))
}

/// Returns a valid token with the header parameter `typ`, signed with `key`.
pub(super) fn signed(key: &SigningKey, typ: &str, claims: &Map<String, Value>) -> Option<String> {
    let header = json!({ "alg": key.algorithm(), "typ": typ, "kid": key.kid });
    compact(header.as_object()?, claims, &Signer::Key(key))
}
