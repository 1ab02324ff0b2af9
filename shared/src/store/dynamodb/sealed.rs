//! Sealed (encrypted) values in DynamoDB. The ciphertext is stored as bytes instead of base64url, because DynamoDB
//! charges for a write by the size of the item.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Item, corrupt, s, text};
use crate::store::StoreError;

/// Returns the attribute for a sealed value: `v1.<key>.`, followed by the ciphertext as bytes. A value that does not
/// have the form of a sealed value is stored as text.
pub(super) fn attribute(sealed: &str) -> AttributeValue {
    let bytes = ciphertext_at(sealed.as_bytes()).and_then(|at| {
        let ciphertext = URL_SAFE_NO_PAD.decode(&sealed[at..]).ok()?;
        Some([&sealed.as_bytes()[..at], &ciphertext].concat())
    });
    bytes.map_or_else(|| s(sealed), |bytes| AttributeValue::B(Blob::new(bytes)))
}

/// Reads a sealed value from the attribute `name`.
pub(super) fn sealed(item: &Item, name: &str) -> Result<String, StoreError> {
    let Some(Ok(bytes)) = item.get(name).map(AttributeValue::as_b) else { return text(item, name).map(str::to_owned) };
    let broken = || corrupt(format!("the bytes in {name} are no sealed value"));
    let (head, ciphertext) = bytes.as_ref().split_at(ciphertext_at(bytes.as_ref()).ok_or_else(broken)?);
    let head = std::str::from_utf8(head).map_err(corrupt)?;
    Ok(format!("{head}{}", URL_SAFE_NO_PAD.encode(ciphertext)))
}

/// Returns the position at which the ciphertext begins: after the second dot.
fn ciphertext_at(sealed: &[u8]) -> Option<usize> {
    let mut dots = sealed.iter().enumerate().filter(|(_, byte)| **byte == b'.');
    dots.nth(1).map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(sealed_text: &str) -> (bool, String) {
        let item = Item::from([("tokens".to_owned(), attribute(sealed_text))]);
        (item["tokens"].is_b(), sealed(&item, "tokens").unwrap())
    }

    #[test]
    fn a_sealed_value_is_stored_as_bytes_and_read_as_the_same_text() {
        for text in ["v1.key-1_a.AAAA", "v1.2026-11.Li4u", "v1.k._-8", "v1.k."] {
            assert_eq!(round(text), (true, text.to_owned()));
        }
    }

    #[test]
    fn a_value_that_is_not_exactly_base64url_stays_a_text() {
        // In `v1.k.AB`, the last character contains non-zero trailing bits. They would be lost if the value were stored
        // as bytes.
        for text in ["v1.k.AB", "v1.k.A", "v1.k.AA==", "v1.k.A.A", "v1.k", "", "v1.k.ü"] {
            assert_eq!(round(text), (false, text.to_owned()));
        }
    }
}
