//! Checks signatures (JWS, RFC 7515) with *ring*.
//!
//! Flexgate uses only the types for keys and algorithms from the crate `jsonwebtoken`. That crate's own signature
//! checks need a crypto provider, which Flexgate does not include.

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

/// Returns whether `key` made `signature` over `message` with `algorithm`. Returns false for a key of another type,
/// and for an algorithm that this module does not support.
#[must_use]
pub fn signed(key: &DecodingKey, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    if key.family() != algorithm.family() {
        return false;
    }
    match algorithm {
        Algorithm::HS256 => tagged(hmac::HMAC_SHA256, key, message, signature),
        Algorithm::HS384 => tagged(hmac::HMAC_SHA384, key, message, signature),
        Algorithm::HS512 => tagged(hmac::HMAC_SHA512, key, message, signature),
        Algorithm::RS256 => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA256, key, message, signature),
        Algorithm::RS384 => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA384, key, message, signature),
        Algorithm::RS512 => by_rsa(&signature::RSA_PKCS1_2048_8192_SHA512, key, message, signature),
        Algorithm::PS256 => by_rsa(&signature::RSA_PSS_2048_8192_SHA256, key, message, signature),
        Algorithm::ES256 => by(&signature::ECDSA_P256_SHA256_FIXED, key, message, signature),
        Algorithm::ES384 => by(&signature::ECDSA_P384_SHA384_FIXED, key, message, signature),
        Algorithm::EdDSA => by(&signature::ED25519, key, message, signature),
        _ => false,
    }
}

fn tagged(digest: hmac::Algorithm, key: &DecodingKey, message: &[u8], tag: &[u8]) -> bool {
    key.try_get_as_bytes().is_ok_and(|secret| hmac::verify(&hmac::Key::new(digest, secret), message, tag).is_ok())
}

fn by(algorithm: &'static dyn VerificationAlgorithm, key: &DecodingKey, message: &[u8], signature: &[u8]) -> bool {
    key.try_get_as_bytes().is_ok_and(|key| UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok())
}

/// Checks an RSA signature. A key from a JWK consists of a modulus and an exponent, and a key from a PEM file is DER.
fn by_rsa(parameters: &'static RsaParameters, key: &DecodingKey, message: &[u8], signature: &[u8]) -> bool {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
        }
        DecodingKeyKind::SecretOrDer(_) => by(parameters, key, message, signature),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_no_secret_and_a_secret_no_public_key() {
        let (message, bytes) = (b"message".as_slice(), b"the bytes of a key".as_slice());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), message);
        assert!(signed(&DecodingKey::from_secret(bytes), Algorithm::HS256, message, tag.as_ref()));
        let public =
            [DecodingKey::from_rsa_der(bytes), DecodingKey::from_ec_der(bytes), DecodingKey::from_ed_der(bytes)];
        for key in public {
            assert!(!signed(&key, Algorithm::HS256, message, tag.as_ref()));
        }
        for algorithm in [Algorithm::HS384, Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA] {
            assert!(!signed(&DecodingKey::from_secret(bytes), algorithm, message, tag.as_ref()));
        }
    }
}
