//! Maps each minting error to a problem response.

use flexgate::domain::policy::MintRefusal;
use flexgate::web::{Problem, kinds};

use crate::minting::MintError;

pub(crate) fn of(error: &MintError) -> Problem {
    match error {
        MintError::Refused(refusal) => refused(refusal),
        MintError::TooMany { retry_after } => {
            Problem::new(kinds::TOO_MANY_REQUESTS, "Use the token you have until it is about to expire.")
                .because(error)
                .retry_after(Some(*retry_after))
        }
        // These errors get the same answer, so that a stranger cannot find out who has a Flex user.
        MintError::UserUnknown
        | MintError::NotAdmitted { .. }
        | MintError::Inactive
        | MintError::NotBound
        | MintError::Ledger(_) => {
            Problem::new(kinds::MINT_REFUSED, "There is no Flex user you may have a token for. Ask your administrator.")
                .because(error)
        }
        MintError::Locked => {
            Problem::new(kinds::SIGN_IN_LOCKED, "Nobody gets tokens at the moment. Ask your administrator.")
                .because(error)
        }
        MintError::SignedOut => {
            Problem::new(kinds::SIGNED_OUT, "Sign in again at your identity provider, and send the new token.")
                .because(error)
        }
        MintError::WrongToken(_) => {
            Problem::new(kinds::UPSTREAM_INVALID, "Twilio's answer could not be used. Tell your administrator.")
                .because(error)
        }
        MintError::Busy(wait) => {
            Problem::new(kinds::UNAVAILABLE, "Another request is changing your Flex user. Try again.")
                .because(error)
                .retry_after(Some(*wait))
        }
        MintError::Twilio(error) => error.into(),
        MintError::Store(error) => error.into(),
    }
}

fn refused(refusal: &MintRefusal) -> Problem {
    match refusal {
        MintRefusal::ScopeMissing(scope) => {
            Problem::new(kinds::SCOPE_MISSING, format!("The token needs the scope {scope}."))
        }
        MintRefusal::UsernameMissing => {
            Problem::new(kinds::MINT_REFUSED, "Your token names no Flex user. A service must name one in \"username\".")
        }
        MintRefusal::UsernameOutside => {
            Problem::new(kinds::MINT_REFUSED, "Your issuer may not use this username. Ask your administrator.")
        }
        MintRefusal::OtherUser => {
            Problem::new(kinds::MINT_REFUSED, "A token for somebody else needs the scope flexgate.token.any.")
        }
        MintRefusal::RoleNotAllowed(role) => {
            Problem::new(kinds::ROLE_FORBIDDEN, format!("You may not request the role {role}."))
        }
        MintRefusal::ExpiresTooSoon => {
            Problem::new(kinds::MINT_REFUSED, "Your own token expires within a minute. Renew it first.")
        }
    }
    .because(refusal)
}
