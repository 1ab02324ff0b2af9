//! Decides whether a statement of a source is about the person who has a certain username, and whether it may be
//! stored.

use super::person::Person;
use super::source::Source;
use crate::event::SubjectId;
use crate::sid::FlexUserSid;

/// Whether a source means the person who has a certain username in the ledger. The source names the person by its own
/// id, the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// The subject stands for the person who has the username now.
    Same,
    /// The subject stands for somebody else, who takes over the username. The ledger records a new person, who inherits
    /// nothing from the previous owner of the username.
    NewPerson,
}

/// Why the ledger refuses a statement of a source about the person who has a certain username.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentRefused {
    /// Somebody else has the username. Either the same source has given it to another subject who is still active, or
    /// another person has taken it over.
    #[error("another person of {0} has the username")]
    HeldByAnother(Source),
    /// Another source says that the person is inactive, and this source has not said anything about the person before.
    /// So this source may mean somebody else with the same username.
    #[error(
        "{0} says that the person of that username is inactive; an operator must say whether this is the same person"
    )]
    Inactive(Source),
    /// Another Flex user already has the username, but a search for it does not show that user, or that user's username
    /// is spelled differently. Creating a user for the person would reactivate or overwrite the other user.
    #[error("the username is a deactivated user's, or another user's in other spelling")]
    NameTaken,
    /// The Flex user is deactivated. The claims of a token never reactivate a user.
    #[error("the Flex user is deactivated")]
    Deactivated(FlexUserSid),
    /// Flexgate asked Twilio to create a user, and Twilio instead reactivated an old user whom no search had shown.
    /// Flexgate has deactivated that user again and has bound no identity to that user.
    #[error("the username was somebody's: provisioning brought their Flex user back, and it was deactivated again")]
    BroughtBack(FlexUserSid),
}

/// Decides whether `subject`, which is an id of `source`, stands for `person`. The source sent a username, and `person`
/// has this username in the ledger.
///
/// A source without its own ids for people (the API, operators) always means the person who has the username. Set
/// `gives_access` to false for a statement that only takes access away. Such a statement is accepted even if another
/// source says that the person is inactive.
pub fn attach(
    person: &Person,
    source: &Source,
    subject: Option<&SubjectId>,
    gives_access: bool,
) -> Result<Attachment, AttachmentRefused> {
    let earlier = person.subjects.get(source);
    if let (Some(earlier), Some(subject)) = (earlier, subject)
        && earlier != subject
    {
        let said = person.statements.get(source);
        let left = said.is_none_or(|said| said.is_silent() || said.says_active() == Some(false));
        let held = AttachmentRefused::HeldByAnother(source.clone());
        return if left && gives_access { Ok(Attachment::NewPerson) } else { Err(held) };
    }
    let known = person.statements.get(source).is_some_and(|said| !said.is_silent());
    if known || !gives_access || *source == Source::Operator {
        return Ok(Attachment::Same);
    }
    match person.inactive_by().find(|by| *by != source) {
        Some(by) => Err(AttachmentRefused::Inactive(by.clone())),
        None => Ok(Attachment::Same),
    }
}
