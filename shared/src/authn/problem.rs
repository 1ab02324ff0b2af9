//! The problem document for an unverified caller.

use super::CallerError;
use crate::web::{Problem, kinds};

impl From<&CallerError> for Problem {
    fn from(error: &CallerError) -> Self {
        match error {
            CallerError::NotConfigured => Self::new(
                kinds::NOT_CONFIGURED,
                "No issuer of tokens is configured here. An administrator can set FLEXGATE_ISSUERS.",
            ),
            CallerError::Missing => Self::new(
                kinds::TOKEN_INVALID,
                "Send one Authorization header with Bearer and a token from a trusted issuer.",
            ),
            // Do not name the broken rule, because that would help a forger.
            CallerError::Invalid(_) => {
                Self::new(kinds::TOKEN_INVALID, "Flexgate does not accept the bearer token.").because(error)
            }
            CallerError::TooLarge => Self::new(kinds::TOO_LARGE, "A bearer token may have at most 8192 bytes."),
            CallerError::Unavailable { retry_after } => {
                Self::new(kinds::UNAVAILABLE, "The issuer's keys cannot be fetched at the moment. Try again.")
                    .because(error)
                    .retry_after(Some(*retry_after))
            }
        }
    }
}
