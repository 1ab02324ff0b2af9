//! Why a request is not SCIM as it should be.

/// Why a request is not SCIM as it should be. The texts are for the caller: what to do, in words of ours.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The body is not what this request takes.
    #[error("{0}")]
    InvalidSyntax(String),
    /// An attribute has a value it cannot have.
    #[error("{0}")]
    InvalidValue(String),
    /// A path names nothing that can be patched.
    #[error("{0}")]
    InvalidPath(String),
    /// The filter cannot be read, or not be used here.
    #[error("{0}")]
    InvalidFilter(String),
    /// The path is missing, or selects no value.
    #[error("{0}")]
    NoTarget(String),
    /// The attribute cannot be changed, or not be removed.
    #[error("{0}")]
    Mutability(String),
    /// The cursor is not one of ours.
    #[error("The cursor is not one that Flexgate gave: begin again without a value for cursor.")]
    InvalidCursor,
    /// The cursor is too old.
    #[error("The cursor has expired: begin again without a value for cursor.")]
    ExpiredCursor,
}

/// `name` must be something else.
pub(crate) fn value(name: &str, must: impl std::fmt::Display) -> ProtocolError {
    ProtocolError::InvalidValue(format!("{name} {must}."))
}
