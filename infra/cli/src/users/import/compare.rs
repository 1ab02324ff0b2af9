//! Compares rows with Flex users, and usernames with each other.

use flexgate::domain::DesiredUser;
use flexgate::twilio::Flex;
use flexgate::users::ledger::LedgerError;

use crate::operator::deadline;
use crate::terminal::harmless;

/// Whether Flex has an active user with exactly these values, and with the username in the same spelling. Ignores roles
/// that Flexgate cannot give.
pub(super) async fn is_in_flex(desired: &DesiredUser, flex: &Flex) -> Result<bool, LedgerError> {
    let user = match flex.find(&desired.username, deadline()).await? {
        Some(user) if !user.is_complete() => Some(flex.get(&user.flex_user_sid, deadline()).await?),
        found => found,
    };
    Ok(user.is_some_and(|user| {
        user.is_active()
            && user.email.as_deref() == Some(desired.email.as_str())
            && user.full_name.as_deref() == Some(desired.full_name.as_str())
            && user.roles.is_some_and(|roles| *roles.known() == desired.roles)
    }))
}

/// Returns a warning about a row that spells a known username differently.
pub(super) fn other_spelling(line: u64, username: &str, known_as: &str) -> String {
    harmless(&format!(
        "line {line}: {username} is another spelling of {known_as}. Flexgate takes them for one person, so the row is about \
         the user {known_as}"
    ))
}
