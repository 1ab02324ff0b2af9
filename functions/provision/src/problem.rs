//! Converts each provisioning error to a problem document.

use flexgate::domain::ledger::{AttachmentRefused, PlanRefused, Source};
use flexgate::twilio::TwilioError;
use flexgate::users::ProvisioningError;
use flexgate::users::ledger::LedgerError;
use flexgate::web::{Problem, kinds};

/// Twilio's error codes for an invalid request body. They mean, in this order: Twilio's validation failed, Twilio
/// cannot process the body, and fields are missing.
const BODY_CODES: [u32; 3] = [45_004, 45_008, 45_050];

/// Converts a provisioning error to a problem.
pub(crate) fn of(error: &ProvisioningError) -> Problem {
    if let ProvisioningError::Twilio(TwilioError::Refused(api)) = error
        && let Some(code) = api.code.filter(|code| BODY_CODES.contains(code))
    {
        let detail =
            format!("Twilio does not accept the user: error {code}, see https://www.twilio.com/docs/errors/{code}");
        return Problem::new(kinds::TWILIO_REFUSED, detail).because(error);
    }
    error.into()
}

/// Converts an error of the people ledger to a problem.
pub(crate) fn of_ledger(error: LedgerError) -> Problem {
    match &error {
        LedgerError::InactiveBy(by) | LedgerError::Attachment(AttachmentRefused::Inactive(by)) => inactive(by),
        LedgerError::Attachment(_) | LedgerError::Bound | LedgerError::NotClaimable(_) => {
            Problem::new(kinds::USER_AMBIGUOUS, "The username belongs to another person. Use another username.")
        }
        LedgerError::Plan(PlanRefused::Incomplete(what)) => {
            Problem::new(kinds::TWILIO_REFUSED, format!("Flex needs the person's {what}. Send it."))
        }
        LedgerError::Plan(PlanRefused::NoRole) => {
            Problem::new(kinds::TWILIO_REFUSED, "The user would have no role. See FLEXGATE_DEFAULT_ROLES.")
        }
        LedgerError::LastAdmin => {
            Problem::new(kinds::LAST_ADMIN, "Make somebody else admin first, or set FLEXGATE_SCIM_LAST_ADMIN to allow.")
        }
        LedgerError::StaysDeactivated => {
            Problem::new(kinds::TWILIO_REFUSED, "Twilio does not reactivate the user. Check the user in the Console.")
        }
        LedgerError::Busy(wait) => Problem::new(kinds::UNAVAILABLE, "Another request is changing the user. Try again.")
            .retry_after(Some(*wait)),
        LedgerError::Twilio(_) | LedgerError::Store(_) => {
            return of(&match error {
                LedgerError::Twilio(error) => ProvisioningError::Twilio(error),
                LedgerError::Store(error) => ProvisioningError::Store(error),
                _ => return Problem::new(kinds::INTERNAL, "Give the request's id to your administrator."),
            });
        }
    }
    .because(&error)
}

fn inactive(by: &Source) -> Problem {
    Problem::new(kinds::USER_INACTIVE, format!("{by} says that the person is inactive. Activate them there first."))
}
