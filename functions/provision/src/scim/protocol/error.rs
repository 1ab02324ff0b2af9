//! The violations of the SCIM protocol.

/// A violation of the SCIM protocol. The message tells the client how to fix the request.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The body lacks the required form.
    #[error("{0}")]
    InvalidSyntax(String),
    /// An attribute has an invalid value.
    #[error("{0}")]
    InvalidValue(String),
    /// The path does not specify an attribute that a patch can change.
    #[error("{0}")]
    InvalidPath(String),
    /// The filter is malformed, or not allowed in this place.
    #[error("{0}")]
    InvalidFilter(String),
    /// The operation has no path, or its path selects no value.
    #[error("{0}")]
    NoTarget(String),
    /// The client is not allowed to change or remove the attribute.
    #[error("{0}")]
    Mutability(String),
    /// Flexgate did not issue this cursor.
    #[error("Flexgate did not issue this cursor. Start again without a value for cursor.")]
    InvalidCursor,
    /// The cursor has expired.
    #[error("The cursor has expired. Start again without a value for cursor.")]
    ExpiredCursor,
}

/// Returns the error for an invalid value of the attribute `name`. `must` follows the name in the message, such as
/// "must be a string".
pub(crate) fn value(name: &str, must: impl std::fmt::Display) -> ProtocolError {
    ProtocolError::InvalidValue(format!("{name} {must}."))
}
