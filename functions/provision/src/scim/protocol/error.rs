//! Why a request violates the SCIM protocol.

/// Why a request violates the SCIM protocol. The texts tell the caller what to do, in Flexgate's own words.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// This request doesn't accept such a body.
    #[error("{0}")]
    InvalidSyntax(String),
    /// An attribute has an invalid value.
    #[error("{0}")]
    InvalidValue(String),
    /// The path names no attribute that can be patched.
    #[error("{0}")]
    InvalidPath(String),
    /// The filter cannot be parsed, or cannot be used here.
    #[error("{0}")]
    InvalidFilter(String),
    /// The path is missing, or selects no value.
    #[error("{0}")]
    NoTarget(String),
    /// The attribute cannot be changed, or cannot be removed.
    #[error("{0}")]
    Mutability(String),
    /// Flexgate did not issue this cursor.
    #[error("Flexgate did not issue this cursor. Start again without a value for cursor.")]
    InvalidCursor,
    /// The cursor has expired.
    #[error("The cursor has expired. Start again without a value for cursor.")]
    ExpiredCursor,
}

/// The error that says what the value of `name` must be.
pub(crate) fn value(name: &str, must: impl std::fmt::Display) -> ProtocolError {
    ProtocolError::InvalidValue(format!("{name} {must}."))
}
