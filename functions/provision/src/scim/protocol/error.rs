//! Why a request violates the SCIM protocol.

/// Why a request violates the SCIM protocol. The messages tell the client what to do.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The body does not have the form that the request requires.
    #[error("{0}")]
    InvalidSyntax(String),
    /// An attribute has an invalid value.
    #[error("{0}")]
    InvalidValue(String),
    /// The path names no attribute, or an attribute that cannot be patched.
    #[error("{0}")]
    InvalidPath(String),
    /// The filter cannot be parsed, or is not allowed at this place.
    #[error("{0}")]
    InvalidFilter(String),
    /// The operation has no path, or its path selects no value.
    #[error("{0}")]
    NoTarget(String),
    /// The client may not change or remove the attribute.
    #[error("{0}")]
    Mutability(String),
    /// Flexgate did not issue this cursor.
    #[error("Flexgate did not issue this cursor. Start again without a value for cursor.")]
    InvalidCursor,
    /// The cursor has expired.
    #[error("The cursor has expired. Start again without a value for cursor.")]
    ExpiredCursor,
}

/// Returns the error for an invalid value of the attribute `name`. `must` completes a sentence whose subject is the
/// name, such as "must be a string".
pub(crate) fn value(name: &str, must: impl std::fmt::Display) -> ProtocolError {
    ProtocolError::InvalidValue(format!("{name} {must}."))
}
