//! What a source is: it proves a delivery in its own way, and says what happened in its own shape.

use std::fmt;

use flexgate::web::{Problem, Query};
use http::HeaderMap;
use secrecy::SecretString;
use serde_json::Value;
use time::OffsetDateTime;

use crate::proof::Unproven;
use crate::reading::Reading;

/// What was sent.
pub(crate) struct Delivery<'d> {
    pub(crate) headers: &'d HeaderMap,
    /// The bytes as they came: what is signed.
    pub(crate) body: &'d [u8],
    /// The source's live secrets.
    pub(crate) secrets: &'d [SecretString],
    pub(crate) now: OffsetDateTime,
}

/// What is sent back to a challenge.
pub(crate) enum Challenged {
    /// An object with this one member.
    Json(&'static str, String),
    /// The text itself.
    Text(String),
}

/// A kind of source.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Whether a secret can be this source's; else what is wrong with it, to be read after its name.
    fn takes(&self, _secret: &SecretString) -> Result<(), &'static str> {
        Ok(())
    }

    /// Whether the delivery comes from the source.
    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven>;

    /// Reads a delivery that does.
    fn read(&self, delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>);

    /// The answer to a challenge, if the request is one.
    fn challenge(&self, _headers: &HeaderMap, _query: &Query) -> Result<Option<Challenged>, Problem> {
        Ok(None)
    }
}
