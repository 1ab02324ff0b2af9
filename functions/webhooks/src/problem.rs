//! Converts each reason for refusing a delivery to a problem document.

use std::time::Duration;

use flexgate::base::strict_json::StrictJsonError;
use flexgate::web::{Problem, kinds};

use crate::proof::Unproven;
use crate::signals::subject::SubjectFault;

pub(crate) fn source_unknown() -> Problem {
    Problem::new(kinds::SOURCE_UNKNOWN, "The sources are configured in FLEXGATE_WEBHOOKS.")
}

/// Returns the problem for a delivery that Flexgate cannot authenticate. The answer does not say which check failed,
/// because that would help a forger. Only the log says it.
pub(crate) fn unproven(error: Unproven) -> Problem {
    Problem::new(kinds::DELIVERY_UNPROVEN, "Check the secret on both sides, and this machine's clock.").because(&error)
}

pub(crate) fn unreadable(error: StrictJsonError) -> Problem {
    Problem::new(kinds::BODY_MALFORMED, format!("The body is {error}.")).because(&error)
}

pub(crate) fn no_challenge() -> Problem {
    Problem::new(kinds::CHALLENGE_INVALID, "Deliver events with POST.")
}

/// Returns the problem for a source without a usable secret, and for secrets that cannot be read. The answer is the
/// same in both cases, and only the log contains the reason.
pub(crate) fn no_secret(fault: &dyn std::error::Error) -> Problem {
    Problem::new(kinds::UNAVAILABLE, "Flexgate cannot check this delivery at the moment. Try again.")
        .because(fault)
        .retry_after(Some(Duration::from_secs(30)))
}

/// Returns the problem for a request that should end a person's sessions but has no bearer token.
pub(crate) fn no_token() -> Problem {
    Problem::new(kinds::TOKEN_INVALID, "Send one Authorization header with Bearer and a token of the transmitter.")
}

/// Returns the problem for a token that was already used for another person, or whose `jti` is not a valid id.
pub(crate) fn token_refused() -> Problem {
    Problem::new(kinds::TOKEN_INVALID, "Flexgate does not accept the bearer token.")
}

pub(crate) fn subject(fault: SubjectFault) -> Problem {
    let (kind, detail) = match fault {
        SubjectFault::Malformed => (kinds::BODY_MALFORMED, "Name the person in sub_id, by iss_sub or email."),
        SubjectFault::Format => (kinds::SUBJECT_UNSUPPORTED, "Name the person by iss_sub or email."),
        SubjectFault::OtherIssuer => (kinds::SUBJECT_FORBIDDEN, "The token may name only the people of its issuer."),
    };
    Problem::new(kind, detail).because(&fault)
}

/// Returns the problem for a subject that Flexgate does not know.
pub(crate) fn subject_unknown() -> Problem {
    Problem::new(kinds::SUBJECT_UNKNOWN, "Flexgate knows nobody under this subject.")
}
