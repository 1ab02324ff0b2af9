//! Parses JSON from outside, and refuses documents that two parsers could read differently.
//!
//! If an object has two members with the same name, some parsers use the first member and others the last. So Flexgate
//! refuses such a document. It also refuses deeply nested documents. An error never contains text from the document.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The maximum depth of nested objects and arrays.
pub const MAX_DEPTH: usize = 32;

/// Why a document was refused. The message completes the sentence "the document is …". It contains nothing from the
/// document except a position, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StrictJsonError {
    /// The document is not JSON or not UTF-8, or text follows its end.
    #[error("not valid JSON at line {line}, column {column}")]
    Syntax {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
    },
    /// An object has two members of the same name.
    #[error("ambiguous: a member is repeated at line {line}, column {column}")]
    Duplicate {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
    },
    /// The document is nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Parses `bytes` as exactly one JSON document (RFC 8259).
pub fn parse(bytes: &[u8]) -> Result<Value, StrictJsonError> {
    let refusal = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict { room: MAX_DEPTH, refusal: &refusal }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| {
            let (line, column) = (error.line(), error.column());
            match refusal.get() {
                None => StrictJsonError::Syntax { line, column },
                Some(Refusal::Duplicate) => StrictJsonError::Duplicate { line, column },
                Some(Refusal::TooDeep) => StrictJsonError::TooDeep,
            }
        })
}

/// Why this parser refused a document that `serde_json` would accept. A serde error can contain only text, so this
/// value is stored separately.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    Duplicate,
    TooDeep,
}

#[derive(Clone, Copy)]
struct Strict<'r> {
    room: usize,
    refusal: &'r Cell<Option<Refusal>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, refusal: Refusal) -> E {
        self.refusal.set(Some(refusal));
        E::custom("refused")
    }

    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let room = self.room.checked_sub(1).ok_or_else(|| self.refuse(Refusal::TooDeep))?;
        Ok(Self { room, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(Refusal::Duplicate));
            }
            object.insert(name, members.next_value_seed(inside)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_repeated_member_is_refused_at_every_level_and_in_every_spelling() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
            assert!(matches!(parse(text.as_bytes()), Err(StrictJsonError::Duplicate { line: 1, .. })), "{text}");
        }
        assert!(parse(br#"{"a":{"a":1},"A":2}"#).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(StrictJsonError::TooDeep));
        assert_eq!(parse("[".repeat(100_000).as_bytes()), Err(StrictJsonError::TooDeep));
        assert_eq!(parse("{\"a\":".repeat(200).as_bytes()), Err(StrictJsonError::TooDeep));
    }

    #[test]
    fn what_is_not_one_document_is_a_syntax_error_with_a_place() {
        assert_eq!(parse(b"{\n  \"a\": x\n}"), Err(StrictJsonError::Syntax { line: 2, column: 8 }));
        for bytes in
            [b"".as_slice(), b"{} {}", b"{} x", b"{'a':1}", b"[1,]", b"\"\xff\"", b"1e999", b"NaN", b"\"\\ud800\""]
        {
            assert!(matches!(parse(bytes), Err(StrictJsonError::Syntax { .. })), "{bytes:?}");
        }
    }

    #[test]
    fn an_error_never_echoes_the_document() {
        let error = parse(br#"{"hunter2": hunter2}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn a_document_without_repetition_reads_as_serde_json_reads_it(
            members in proptest::collection::btree_map(any::<String>(), any::<(i64, bool, f64, String)>(), 0..8)
        ) {
            let text = serde_json::to_string(&members).unwrap();
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
