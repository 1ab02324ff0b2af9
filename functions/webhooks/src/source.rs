//! Defines what every kind of source implements: verifying a delivery, and reading events from it.

use std::fmt;

use flexgate::web::{Problem, Query};
use http::HeaderMap;
use secrecy::SecretString;
use serde_json::Value;
use time::OffsetDateTime;

use crate::proof::Unproven;
use crate::reading::Reading;

/// A delivery, and what a source needs to verify it.
pub(crate) struct Delivery<'d> {
    pub(crate) headers: &'d HeaderMap,
    /// The raw bytes of the body, because the signature covers exactly these bytes.
    pub(crate) body: &'d [u8],
    /// The source's currently valid secrets.
    pub(crate) secrets: &'d [SecretString],
    pub(crate) now: OffsetDateTime,
}

/// The answer to a challenge.
pub(crate) enum Challenged {
    /// A JSON object with one member: its name and its value.
    Json(&'static str, String),
    /// Plain text.
    Text(String),
}

/// A kind of source.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Checks whether this source can use the secret. The error's text, for example "is too short", completes the
    /// sentence "the secret of the source …".
    fn takes(&self, _secret: &SecretString) -> Result<(), &'static str> {
        Ok(())
    }

    /// Whether the delivery comes from the source.
    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven>;

    /// Reads a verified delivery.
    fn read(&self, delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>);

    /// Answers the request with which a source verifies Flexgate's webhook URL. Returns `None` for any other request.
    fn challenge(&self, _headers: &HeaderMap, _query: &Query) -> Result<Option<Challenged>, Problem> {
        Ok(None)
    }
}
