//! Encrypts cookies and stored tokens, so that only Flexgate can read or change them. An encrypted value is called
//! sealed.
//!
//! This module uses AES-256-GCM with a ring of keys. The *current* key seals new values. Every key in the ring can open
//! the values that it sealed.
//!
//! Each value is sealed for one [`Purpose`]. So if somebody copies a sealed value to another cookie, host, profile or
//! session, Flexgate cannot open it there.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{self, HKDF_SHA256};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::base::clock_rng::{Rng, random};

const VERSION: &str = "v1";

/// The purpose of a sealed value, such as a cookie or a session. The purpose is authenticated but not stored in the
/// value. So the value opens only if the caller names the same purpose again.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a>(pub &'a [&'a str]);

impl Purpose<'_> {
    /// Returns the data that AES-GCM authenticates together with the value. The length of each part precedes the part,
    /// so that `["ab", "c"]` and `["a", "bc"]` give different data.
    fn associated_data(self, key_id: &str) -> Vec<u8> {
        let mut data = Vec::new();
        for part in [VERSION, key_id].iter().chain(self.0) {
            data.extend_from_slice(&(part.len() as u64).to_be_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data
    }
}

/// A sealed value could not be opened: it was changed, it was sealed for another purpose, its key was removed, or it
/// was never sealed. The error does not say which, so that an attacker learns nothing. A failure to seal a value also
/// gives this error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value does not open")]
pub struct OpenError;

/// Why the document with the keys is unusable. The error never contains a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// `current` is not the name of a key.
    #[error("\"current\" must name one of \"keys\"")]
    Current,
    /// A key is not 32 bytes in base64.
    #[error("every key must be 32 random bytes in base64 (openssl rand -base64 32)")]
    Key,
    /// A key consists of one repeated byte, so it is a placeholder.
    #[error("a key consists of one repeated byte: generate it with openssl rand -base64 32")]
    Weak,
    /// The member `generated` is too short for 256 random bits, or repeats one character.
    #[error("\"generated\" must be at least 43 random characters")]
    Generated,
    /// The name of a key contains characters that are not safe in a cookie, has the wrong length, or occurs twice.
    #[error("a key's name must have 1 to 32 letters, digits, hyphens or underscores")]
    Name,
}

/// The ring of keys. Its document in the secret store is `{"current": "2026-11", "keys": {"2026-11": "<base64>", …}}`.
/// Each key has 32 random bytes.
///
/// Secrets Manager can generate only text. So the document may contain `"generated": "<43 or more letters and
/// digits>"`. The SHA-256 of that text is a key with the name `generated`.
#[derive(Deserialize)]
#[serde(try_from = "Document")]
pub struct KeyRing {
    current: String,
    keys: BTreeMap<String, Key>,
}

struct Key {
    seals: LessSafeKey,
    derives: hkdf::Prk,
}

impl Key {
    fn new(bytes: &[u8]) -> Result<Self, KeyRingError> {
        let seals = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyRingError::Key)?;
        // `bytes` is also the key for AES-GCM. With the salt, the derived bytes are independent of that use.
        let derives = hkdf::Salt::new(HKDF_SHA256, b"flexgate derive").extract(bytes);
        Ok(Self { seals: LessSafeKey::new(seals), derives })
    }
}

/// The number of bytes to derive.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    current: String,
    #[serde(default)]
    keys: BTreeMap<String, SecretString>,
    generated: Option<SecretString>,
}

/// The name of the key that is derived from the text in the member `generated`.
const GENERATED: &str = "generated";

/// The minimum length of the text in `generated`. 43 random letters and digits have 256 bits of entropy.
const GENERATED_LENGTH: usize = 43;

impl TryFrom<Document> for KeyRing {
    type Error = KeyRingError;

    fn try_from(document: Document) -> Result<Self, KeyRingError> {
        let mut keys = BTreeMap::new();
        for (name, text) in document.keys {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
                return Err(KeyRingError::Name);
            }
            let bytes = Zeroizing::new(STANDARD.decode(text.expose_secret()).map_err(|_| KeyRingError::Key)?);
            if uniform(&bytes) {
                return Err(KeyRingError::Weak);
            }
            keys.insert(name, Key::new(&bytes)?);
        }
        if let Some(text) = document.generated {
            let text = text.expose_secret().as_bytes();
            if text.len() < GENERATED_LENGTH || uniform(text) {
                return Err(KeyRingError::Generated);
            }
            let key = Key::new(digest(&SHA256, text).as_ref())?;
            if keys.insert(GENERATED.to_owned(), key).is_some() {
                return Err(KeyRingError::Name);
            }
        }
        if !keys.contains_key(&document.current) {
            return Err(KeyRingError::Current);
        }
        Ok(Self { current: document.current, keys })
    }
}

fn uniform(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| Some(b) == bytes.first())
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("current", &self.current).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Seals `plain` for `purpose` with the current key. The result has the form `v1.<key>.<base64url(nonce,
    /// ciphertext, tag)>`, which is safe in a URL and in a cookie.
    pub fn seal(&self, plain: &[u8], purpose: Purpose<'_>, rng: &dyn Rng) -> Result<String, OpenError> {
        let key = &self.keys.get(&self.current).ok_or(OpenError)?.seals;
        let nonce: [u8; NONCE_LEN] = random(rng);
        let aad = Aad::from(purpose.associated_data(&self.current));
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).map_err(|_| OpenError)?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        Ok(format!("{VERSION}.{}.{}", self.current, URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Opens a value that [`KeyRing::seal`] made for the same purpose. The key that sealed the value must still be in
    /// the ring.
    pub fn open(&self, sealed: &str, purpose: Purpose<'_>) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut parts = sealed.split('.');
        let (Some(VERSION), Some(key_id), Some(text), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(OpenError);
        };
        let key = &self.keys.get(key_id).ok_or(OpenError)?.seals;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(OpenError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError)?;
        let mut plain = Zeroizing::new(rest.to_vec());
        let aad = Aad::from(purpose.associated_data(key_id));
        let length = key.open_in_place(nonce, aad, &mut plain).map_err(|_| OpenError)?.len();
        plain.truncate(length);
        Ok(plain)
    }

    /// Whether the key that sealed `sealed` is in the ring.
    #[must_use]
    pub fn knows(&self, sealed: &str) -> bool {
        sealed.split('.').nth(1).is_some_and(|key_id| self.keys.contains_key(key_id))
    }

    /// Derives `N` secret bytes from a purpose and from the key that sealed `sealed` (HKDF-SHA256, RFC 5869). The same
    /// key and purpose always give the same bytes. The result does not depend on the content of `sealed`.
    pub fn derive<const N: usize>(&self, sealed: &str, purpose: Purpose<'_>) -> Result<Zeroizing<[u8; N]>, OpenError> {
        let key_id = sealed.split('.').nth(1).ok_or(OpenError)?;
        let key = &self.keys.get(key_id).ok_or(OpenError)?.derives;
        let info = purpose.associated_data(key_id);
        let mut bytes = Zeroizing::new([0; N]);
        let derived = key.expand(&[&info], Length(N)).and_then(|okm| okm.fill(bytes.as_mut()));
        derived.map_err(|_| OpenError).map(|()| bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::base::clock_rng::SystemRng;

    const PURPOSE: Purpose<'static> = Purpose(&["cookie", "gate.example"]);

    fn key(byte: u8) -> String {
        let mut bytes = [byte; 32];
        bytes[0] ^= 1;
        STANDARD.encode(bytes)
    }

    fn ring(current: &str, keys: &[(&str, u8)]) -> KeyRing {
        let keys: BTreeMap<_, _> = keys.iter().map(|(name, byte)| (*name, key(*byte))).collect();
        serde_json::from_value(json!({"current": current, "keys": keys})).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_again(plain in proptest::collection::vec(any::<u8>(), 0..300)) {
            let ring = ring("a", &[("a", 1)]);
            let sealed = ring.seal(&plain, PURPOSE, &SystemRng).unwrap();
            prop_assert_eq!(&*ring.open(&sealed, PURPOSE).unwrap(), &plain);
        }

        #[test]
        fn one_changed_character_does_not_open(at in any::<prop::sample::Index>(), by in 1u8..=127) {
            let ring = ring("a", &[("a", 1)]);
            let mut sealed = ring.seal(b"secret", PURPOSE, &SystemRng).unwrap().into_bytes();
            let at = at.index(sealed.len());
            sealed[at] = (sealed[at] ^ by) & 0x7f;
            let sealed = String::from_utf8(sealed).unwrap();
            prop_assert_eq!(ring.open(&sealed, PURPOSE), Err(OpenError));
        }

        #[test]
        fn no_string_at_all_makes_it_panic(text in any::<String>()) {
            prop_assert_eq!(ring("a", &[("a", 1)]).open(&text, PURPOSE), Err(OpenError));
        }
    }

    #[test]
    fn a_key_that_secrets_manager_generated_seals_and_gives_way_to_a_listed_one() {
        let generated = |text: &str, current: &str| {
            let document = json!({"current": current, "keys": {"2026": key(1)}, "generated": text});
            serde_json::from_value::<KeyRing>(document)
        };
        let text = "kT9pZb3mW7xQ1vR5nL8sD2fG6hJ4cY0aKeUoIiPqRtVwXzBnMm1234567890AbCd";
        let sealed = generated(text, "generated").unwrap().seal(b"x", PURPOSE, &SystemRng).unwrap();
        assert!(generated(text, "2026").unwrap().open(&sealed, PURPOSE).is_ok());
        assert_eq!(ring("2026", &[("2026", 1)]).open(&sealed, PURPOSE), Err(OpenError));
        for weak in ["", &text[..42], &"a".repeat(64)] {
            assert!(generated(weak, "generated").is_err(), "{weak:?}");
        }
    }

    #[test]
    fn the_previous_key_opens_and_a_retired_key_does_not() {
        let sealed = ring("old", &[("old", 1)]).seal(b"x", PURPOSE, &SystemRng).unwrap();
        assert!(ring("new", &[("new", 2), ("old", 1)]).open(&sealed, PURPOSE).is_ok());
        assert_eq!(ring("new", &[("new", 2)]).open(&sealed, PURPOSE), Err(OpenError));
    }

    #[test]
    fn derived_bytes_depend_on_the_key_and_the_purpose_only() {
        let old = ring("old", &[("old", 1)]);
        let sealed = old.seal(b"x", PURPOSE, &SystemRng).unwrap();
        let derived = old.derive::<72>(&sealed, PURPOSE).unwrap();
        assert!(derived.iter().any(|b| *b != derived[0]), "they are not constant");
        let rotated = ring("new", &[("new", 2), ("old", 1)]);
        assert_eq!(rotated.derive::<72>(&sealed, PURPOSE), Ok(derived.clone()), "the key of the sealed value counts");
        assert_ne!(rotated.derive::<72>(&sealed, Purpose(&["other"])), Ok(derived.clone()));
        let other = rotated.seal(b"x", PURPOSE, &SystemRng).unwrap();
        assert_ne!(rotated.derive::<72>(&other, PURPOSE), Ok(derived));
        assert_eq!(ring("new", &[("new", 2)]).derive::<72>(&sealed, PURPOSE), Err(OpenError));
        assert_eq!(rotated.derive::<72>("", PURPOSE), Err(OpenError));
        assert!(rotated.knows(&sealed) && !ring("new", &[("new", 2)]).knows(&sealed) && !rotated.knows(""));
    }

    #[test]
    fn a_value_moved_to_another_purpose_does_not_open() {
        let ring = ring("a", &[("a", 1)]);
        let sealed = ring.seal(b"x", PURPOSE, &SystemRng).unwrap();
        for other in [&["cookie", "other.example"][..], &["cookiegate", ".example"], &["cookie"], &[]] {
            assert_eq!(ring.open(&sealed, Purpose(other)), Err(OpenError));
        }
    }

    #[test]
    fn unusable_key_documents_say_why() {
        let parse = |value| serde_json::from_value::<KeyRing>(value).unwrap_err().to_string();
        assert!(parse(json!({"current": "b", "keys": {"a": key(1)}})).contains("must name one of"));
        assert!(parse(json!({"current": "a", "keys": {"a": "short"}})).contains("32 random bytes"));
        assert!(parse(json!({"current": "a", "keys": {"a": STANDARD.encode([0; 32])}})).contains("repeated byte"));
        for name in ["a.b", "", "a b", &"x".repeat(33)] {
            assert!(
                parse(json!({"current": name, "keys": {name: key(1)}})).contains("a key's name must have"),
                "{name}"
            );
        }
        let text = "kT9pZb3mW7xQ1vR5nL8sD2fG6hJ4cY0aKeUoIiPqRtV";
        for weak in [&text[1..], &"a".repeat(64)] {
            let said = parse(json!({"current": "generated", "generated": weak}));
            assert!(said.contains("43 random characters"), "{said}");
        }
        let twice = json!({"current": "generated", "keys": {"generated": key(1)}, "generated": text});
        assert!(parse(twice).contains("a key's name must have"));
    }

    #[test]
    fn a_key_may_have_any_name_that_is_safe_in_a_cookie() {
        for name in ["a", "2026-11", "KEY_2", &"x".repeat(32)] {
            let ring = ring(name, &[(name, 1)]);
            let sealed = ring.seal(b"x", PURPOSE, &SystemRng).unwrap();
            assert!(sealed.starts_with(&format!("v1.{name}.")), "{sealed}");
            assert_eq!(ring.open(&sealed, PURPOSE).unwrap().as_slice(), b"x");
        }
        let shortest = "kT9pZb3mW7xQ1vR5nL8sD2fG6hJ4cY0aKeUoIiPqRtV";
        assert!(serde_json::from_value::<KeyRing>(json!({"current": "generated", "generated": shortest})).is_ok());
    }

    #[test]
    fn debug_names_the_current_key_and_shows_none() {
        let shown = format!("{:?}", ring("a-name", &[("a-name", 1)]));
        assert!(shown.contains("a-name") && !shown.contains(&key(1)), "{shown}");
    }
}
