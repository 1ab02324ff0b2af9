//! An issuer's published public keys (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::fault::TokenFault;
use crate::base::jws;

/// The allowed lengths of an RSA modulus, in bits. Shorter keys are too weak. Longer keys make verification too slow.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Returns the algorithm with this name, if it is allowed (RFC 7518, RFC 8037). No symmetric algorithm is allowed,
/// because the published key could then also create signatures.
pub(super) fn allowed_algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "PS256" => Some(Algorithm::PS256),
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// A public key for one algorithm. The algorithm comes from the key, not from the token (RFC 8725 §3.1).
pub(super) struct Key {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Key {
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this key made `signature` over `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        jws::signed(&self.key, self.algorithm, message, signature)
    }
}

/// An issuer's usable keys with their names (`kid`). Encryption keys, weak keys and unknown key types are omitted.
pub(super) struct KeySet(Vec<(Option<Box<str>>, Key)>);

impl KeySet {
    /// Reads a key set. Returns `None` if `document` is not a key set.
    pub(super) fn parse(document: &Value) -> Option<Self> {
        let keys = document.get("keys")?.as_array()?;
        Some(Self(keys.iter().filter_map(Value::as_object).filter_map(usable).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the key for a token:
    /// * If any keys have the token's `kid`: the first of them that is for the token's algorithm.
    /// * If no key has the token's `kid`: the only key for the algorithm that has no `kid`.
    /// * If the token has no `kid`: the only key for the algorithm.
    ///
    /// Fails if no key fits, or if several keys fit in the second or third case.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, TokenFault> {
        let mut named = self.0.iter().filter(|(name, _)| kid.is_some() && name.as_deref() == kid).peekable();
        if named.peek().is_some() {
            // Keys of different types may have the same `kid` (RFC 7517 §4.5), so also compare the algorithm.
            let mut named = named.map(|(_, key)| key);
            return named.find(|key| key.algorithm == algorithm).ok_or(TokenFault::KeyAlgorithm);
        }
        let fits =
            |(name, key): &&(Option<Box<str>>, Key)| key.algorithm == algorithm && (kid.is_none() || name.is_none());
        let mut fitting = self.0.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some((_, only)), None) => Ok(only),
            _ if kid.is_some() => Err(TokenFault::KeyUnknown),
            (None, _) => Err(TokenFault::KeyAlgorithm),
            (Some(_), _) => Err(TokenFault::KeyMissing),
        }
    }
}

fn usable(jwk: &Map<String, Value>) -> Option<(Option<Box<str>>, Key)> {
    // Some issuers write null instead of omitting a member.
    let member = |name| jwk.get(name).filter(|value| !value.is_null());
    let text = |name| member(name).and_then(Value::as_str);
    let bytes = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    if member("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let verifies = |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    if !member("key_ops").is_none_or(verifies) {
        return None;
    }
    let (key, of_kind) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (rsa(&bytes("n")?, &bytes("e")?)?, [Algorithm::RS256, Algorithm::PS256].as_slice()),
        ("EC", Some("P-256")) => (ec(&bytes("x")?, &bytes("y")?, 32)?, [Algorithm::ES256].as_slice()),
        ("EC", Some("P-384")) => (ec(&bytes("x")?, &bytes("y")?, 48)?, [Algorithm::ES384].as_slice()),
        ("OKP", Some("Ed25519")) => (ed25519(&bytes("x")?)?, [Algorithm::EdDSA].as_slice()),
        _ => return None,
    };
    let algorithm = match member("alg") {
        // Without `alg`, the key's type determines the algorithm. Entra's RSA keys have no `alg`, and are used for
        // RS256.
        None => *of_kind.first()?,
        Some(alg) => allowed_algorithm(alg.as_str()?).filter(|algorithm| of_kind.contains(algorithm))?,
    };
    Some((text("kid").map(Into::into), Key { algorithm, key }))
}

fn rsa(n: &[u8], e: &[u8]) -> Option<DecodingKey> {
    let n = without_leading_zeros(n);
    let e = without_leading_zeros(e);
    let bits = (n.len() * 8).checked_sub(n.first()?.leading_zeros() as usize)?;
    // With an exponent of 1, anybody can forge a signature: the padded digest of a message is itself a valid signature.
    let sound_exponent = e.len() <= 4 && e.last()? % 2 == 1 && e != [1];
    (RSA_BITS.contains(&bits) && sound_exponent).then(|| DecodingKey::from_rsa_raw_components(n, e))
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn ec(x: &[u8], y: &[u8], length: usize) -> Option<DecodingKey> {
    // The byte 4 means an uncompressed point (SEC 1 §2.3.3).
    (x.len() == length && y.len() == length).then(|| DecodingKey::from_ec_der(&[&[4], x, y].concat()))
}

/// Reads an Ed25519 key. Refuses points of small order, because with such a key, anybody can forge signatures.
fn ed25519(x: &[u8]) -> Option<DecodingKey> {
    let mut y: [u8; 32] = x.try_into().ok()?;
    y[31] &= 0x7f;
    (!SMALL_ORDER.contains(&y)).then(|| DecodingKey::from_ed_der(x))
}

/// The y coordinates of the Ed25519 points whose order divides 8, as little-endian bytes without the sign bit of x. The
/// list includes p and p + 1 (p is 2^255 - 19), which are non-canonical encodings of 0 and 1.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    near_p(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    near_p(0xec, 0xff, 0x7f),
    near_p(0xed, 0xff, 0x7f),
    near_p(0xee, 0xff, 0x7f),
];

/// Returns 32 bytes: `first`, then 30 times `middle`, then `last`. The numbers 0 and 1 and the numbers near p have this
/// form.
const fn near_p(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa_jwk(bits: usize) -> Value {
        json!({"kty": "RSA", "kid": "k", "n": b64(&vec![0xff; bits / 8]), "e": "AQAB"})
    }

    fn ec_jwk() -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": b64(&[1; 32]), "y": b64(&[2; 32])})
    }

    fn with(mut jwk: Value, member: &str, value: Value) -> Value {
        jwk[member] = value;
        jwk
    }

    fn algorithms(jwk: &Value) -> Vec<Algorithm> {
        let set = KeySet::parse(&json!({"keys": [jwk]})).unwrap();
        set.0.iter().map(|(_, key)| key.algorithm).collect()
    }

    #[test]
    fn the_algorithm_comes_from_the_key() {
        assert_eq!(algorithms(&rsa_jwk(2048)), [Algorithm::RS256]);
        assert_eq!(algorithms(&with(rsa_jwk(2048), "alg", json!("PS256"))), [Algorithm::PS256]);
        assert_eq!(algorithms(&ec_jwk()), [Algorithm::ES256]);
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&[3; 32])});
        assert_eq!(algorithms(&ed), [Algorithm::EdDSA]);
    }

    #[test]
    fn weak_foreign_and_inconsistent_keys_are_left_out() {
        for jwk in [
            rsa_jwk(1024),
            rsa_jwk(2040),
            rsa_jwk(16_384),
            with(rsa_jwk(2048), "n", json!(b64(&[&[0; 128], [0xff; 128].as_slice()].concat()))),
            with(rsa_jwk(2048), "e", json!("AQ")),
            with(rsa_jwk(2048), "e", json!("AAAAAQ")),
            with(rsa_jwk(2048), "e", json!("AQAA")),
            with(rsa_jwk(2048), "use", json!("enc")),
            with(rsa_jwk(2048), "key_ops", json!(["encrypt"])),
            with(rsa_jwk(2048), "alg", json!("RS512")),
            with(rsa_jwk(2048), "alg", json!("HS256")),
            with(rsa_jwk(2048), "alg", json!("ES256")),
            with(rsa_jwk(2048), "alg", json!(7)),
            with(ec_jwk(), "alg", json!("ES384")),
            with(ec_jwk(), "crv", json!("secp256k1")),
            with(ec_jwk(), "crv", json!("P-384")),
            json!({"kty": "oct", "kid": "k", "k": b64(&[0; 32])}),
            json!({"kid": "k"}),
            json!("k"),
        ] {
            assert_eq!(algorithms(&jwk), [], "{jwk}");
        }
    }

    #[test]
    fn signing_keys_say_so_or_say_nothing() {
        assert_eq!(algorithms(&with(ec_jwk(), "use", json!("sig"))).len(), 1);
        for member in ["use", "alg", "key_ops", "kid"] {
            assert_eq!(algorithms(&with(ec_jwk(), member, json!(null))).len(), 1, "{member}");
        }
        assert_eq!(algorithms(&with(ec_jwk(), "key_ops", json!(["verify"]))).len(), 1);
    }

    #[test]
    fn a_key_is_found_by_name_and_algorithm() {
        let set = KeySet::parse(&json!({"keys": [rsa_jwk(2048), ec_jwk()]})).unwrap();
        let find = |kid, algorithm| set.find(kid, algorithm).map(Key::algorithm);
        assert_eq!(find(Some("k"), Algorithm::ES256), Ok(Algorithm::ES256));
        assert_eq!(find(Some("k"), Algorithm::EdDSA), Err(TokenFault::KeyAlgorithm));
        assert_eq!(find(Some("K"), Algorithm::ES256), Err(TokenFault::KeyUnknown));
        assert_eq!(find(None, Algorithm::ES256), Ok(Algorithm::ES256));
        assert_eq!(find(None, Algorithm::EdDSA), Err(TokenFault::KeyAlgorithm));
        let set = KeySet::parse(&json!({"keys": [ec_jwk(), with(ec_jwk(), "kid", json!(null))]})).unwrap();
        let find = |kid| set.find(kid, Algorithm::ES256).map(Key::algorithm);
        assert_eq!(find(None), Err(TokenFault::KeyMissing));
        assert_eq!(find(Some("k")), Ok(Algorithm::ES256));
        assert_eq!(find(Some("other")), Ok(Algorithm::ES256), "the key without a name");
    }

    #[test]
    fn what_has_no_keys_is_no_key_set() {
        for document in [json!([]), json!({}), json!({"keys": {}}), json!("keys")] {
            assert!(KeySet::parse(&document).is_none());
        }
        assert!(KeySet::parse(&json!({"keys": []})).is_some());
    }
}
