//! Maps each sign-in error to a problem response.

use flexgate::web::{PageWords, Problem, kinds};

use crate::signin::{CallbackError, Decline, Fault, NotAllowed, SessionError};

pub(crate) fn of_callback(error: &CallbackError) -> Problem {
    match error {
        CallbackError::NoLogin | CallbackError::Mixed(_) | CallbackError::SignedOut => {
            Problem::new(kinds::LOGIN_INVALID, "Start the sign-in again, in this browser.").because(error)
        }
        CallbackError::Rejected(_) => Problem::new(kinds::LOGIN_REJECTED, "Start the sign-in again.").because(error),
        CallbackError::Declined(Decline::Denied) => {
            Problem::new(kinds::LOGIN_REFUSED, "Try again, or ask for access.").because(error)
        }
        CallbackError::Declined(Decline::Failed) => {
            const WORDS: &PageWords = &PageWords::fault(
                "Your company's sign-in did not work",
                "Please try again in a minute. If that does not help, tell your administrator.",
            );
            let detail = "The identity provider or Twilio reported an error other than a refusal. Try again.";
            Problem::new(kinds::LOGIN_REFUSED, detail).because(error).worded(WORDS)
        }
        CallbackError::Inactive => {
            const WORDS: &PageWords = &PageWords::calm(
                "Your access to Flex has ended",
                "If you think that this is a mistake, ask your administrator.",
            );
            Problem::new(kinds::LOGIN_REFUSED, "Your access has ended. If that is a mistake, ask your administrator.")
                .because(error)
                .worded(WORDS)
        }
        CallbackError::Fault(fault) => fault.into(),
    }
}

/// Returns the problem for a session without a usable token.
pub(crate) fn of_session(error: &SessionError) -> Problem {
    match error {
        SessionError::Unknown => Problem::new(kinds::NOT_SIGNED_IN, "Sign in at /sso/{profile}/login."),
        SessionError::Ended(_) => {
            Problem::new(kinds::REAUTHENTICATE, "Sign in again at /sso/{profile}/login.").because(error)
        }
        SessionError::Elsewhere => {
            Problem::new(kinds::SIGNED_IN_ELSEWHERE, "Close this page, or sign in again to continue here.")
        }
        SessionError::NotAllowed(error) => error.into(),
        SessionError::Busy => Problem::new(kinds::UNAVAILABLE, "The session is being refreshed. Try again.")
            .because(error)
            .retry_after(Some(std::time::Duration::from_secs(2))),
        SessionError::Fault(fault) => fault.into(),
    }
}

/// Returns the problem for a Flex token that is not acceptable. The problem does not contain the reason.
pub(crate) fn flex_token_invalid() -> Problem {
    Problem::new(kinds::FLEX_TOKEN_INVALID, "Get a new token from Flex, for this account and instance.")
}

impl From<&NotAllowed> for Problem {
    fn from(error: &NotAllowed) -> Self {
        match error {
            NotAllowed::Locked => Problem::new(kinds::SIGN_IN_LOCKED, "Try again later, or ask your administrator."),
            NotAllowed::Network => {
                Problem::new(kinds::NETWORK_FORBIDDEN, "Use your company's network, or ask your administrator.")
            }
            NotAllowed::Fault(fault) => fault.into(),
        }
    }
}

impl From<&Fault> for Problem {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Twilio(error) => error.into(),
            Fault::Store(error) => error.into(),
            Fault::Keys(error) => {
                Problem::new(kinds::UNAVAILABLE, "Flexgate's keys cannot be read at the moment. Try again.")
                    .because(error)
                    .retry_after(Some(std::time::Duration::from_secs(5)))
            }
            Fault::Seal => Problem::new(kinds::INTERNAL, "Give the request's id to your administrator.").because(fault),
        }
    }
}
