//! What was done to a user, in a word.

use flexgate::users::Reconciled;

/// For the audit trail and the operator.
pub(super) fn became(done: &Reconciled) -> &'static str {
    match done {
        Reconciled::Created(_) => "created",
        Reconciled::Updated(_) => "updated",
        Reconciled::Unchanged(_) => "unchanged",
    }
}
