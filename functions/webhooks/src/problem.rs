//! Converts each reason for refusing a delivery to a problem document.

use std::time::Duration;

use flexgate::base::strict_json::StrictJsonError;
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

/// The source has no usable secret, or the secrets cannot be read. The answer is the same in both cases, and only the
/// log contains the reason.
pub(crate) fn no_secret(fault: &dyn std::error::Error) -> Problem {
    Problem::new(kinds::UNAVAILABLE, "Flexgate cannot check this delivery at the moment. Try again.")
        .because(fault)
        .retry_after(Some(Duration::from_secs(30)))
}
