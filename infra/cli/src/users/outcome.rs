//! Converts outcomes and errors of the people ledger to messages for the operator.

use flexgate::domain::ledger::{AttachmentRefused, PlanRefused};
use flexgate::users::ledger::{LedgerError, Outcome, Report};

/// Returns the outcome in words, for the operator and the audit trail.
pub(super) fn became(report: &Report) -> &'static str {
    match report.outcome {
        Outcome::Created | Outcome::Updated | Outcome::Deactivated => report.outcome.as_str(),
        Outcome::Stale | Outcome::NoUser | Outcome::Unchanged => "unchanged",
        Outcome::Contested => "left as it is: somebody else sets it anew whenever it is repaired",
    }
}

/// Returns a message that names the fields in [`Report::blocked`], or `None` if there are none. Flexgate left these
/// fields unchanged, because a change would remove a role that Flexgate cannot give back.
pub(super) fn blocked(fields: &[&str]) -> Option<String> {
    (!fields.is_empty()).then(|| {
        format!(
            "Flex shows a role that Flexgate cannot give, and changing {} would remove it: do that in the Console",
            fields.join(", ")
        )
    })
}

/// Returns why the ledger refused the change, with advice.
pub(super) fn reason(error: &LedgerError) -> String {
    match error {
        LedgerError::InactiveBy(by) | LedgerError::Attachment(AttachmentRefused::Inactive(by)) => format!(
            "{by} says that the person is inactive: activate them there first. If {by} will not say so, use flexgate users \
             provision with --same for the same person, or with --new for somebody else who gets the username"
        ),
        LedgerError::Attachment(_) | LedgerError::Bound => "the username belongs to another person".to_owned(),
        LedgerError::LastAdmin => "this is the last active administrator: make somebody else admin first, or set \
                                   FLEXGATE_SCIM_LAST_ADMIN to allow"
            .to_owned(),
        LedgerError::Plan(PlanRefused::NoRole) => "the user would have no role: see FLEXGATE_DEFAULT_ROLES".to_owned(),
        LedgerError::Twilio(error) => error.to_string(),
        LedgerError::Store(error) => error.to_string(),
        error => error.to_string(),
    }
}
