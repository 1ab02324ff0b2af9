//! Converts each reason for refusing a delivery to a problem document.

use flexgate::base::strict_json::StrictJsonError;
use flexgate::secrets::SecretError;
use flexgate::web::{Problem, kinds};

use crate::proof::Unproven;

pub(crate) fn source_unknown() -> Problem {
    Problem::new(kinds::SOURCE_UNKNOWN, "The sources are configured in FLEXGATE_WEBHOOKS.")
}

/// Only the log names the rule that failed, because a forger could use that information.
pub(crate) fn unproven(error: Unproven) -> Problem {
    Problem::new(kinds::DELIVERY_UNPROVEN, "Check the secret on both sides, and this machine's clock.").because(&error)
}

pub(crate) fn unreadable(error: StrictJsonError) -> Problem {
    Problem::new(kinds::BODY_MALFORMED, format!("The body is {error}.")).because(&error)
}

pub(crate) fn no_challenge() -> Problem {
    Problem::new(kinds::CHALLENGE_INVALID, "Deliver events with POST.")
}

pub(crate) fn secrets(error: &SecretError) -> Problem {
    Problem::new(kinds::UNAVAILABLE, "Flexgate's webhook secrets cannot be read at the moment. Try again.")
        .because(error)
        .retry_after(Some(std::time::Duration::from_secs(30)))
}

/// A later version of the secrets document may lack a source that an earlier version had.
pub(crate) fn no_secret() -> Problem {
    Problem::new(kinds::UNAVAILABLE, "Flexgate has no secret for this source. Tell your administrator.")
}
