//! Decides whether the ledger accepts a source's statement about the person with a given username.

use super::person::Person;
use super::source::Source;
use crate::event::SubjectId;
use crate::sid::FlexUserSid;

/// Whether a source's id for a person refers to the person who has the given username in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// The id refers to the person who has the username now.
    Same,
    /// The id refers to a different person, who takes over the username. The new person inherits nothing from the
    /// previous owner of the username.
    NewPerson,
}

/// Why the ledger refuses a source's statement about the person with a given username.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentRefused {
    /// The username belongs to somebody else: another active subject of the same source, or a person who has taken
    /// over the username.
    #[error("another person of {0} has the username")]
    HeldByAnother(Source),
    /// Another source says that the person is inactive. This source has said nothing about the person before, so its
    /// statement may be about somebody else with the same username.
    #[error(
        "{0} says that the person of that username is inactive; an operator must say whether this is the same person"
    )]
    Inactive(Source),
    /// Another Flex user already has the username, possibly in a different spelling. Creating a user would overwrite
    /// or reactivate that Flex user.
    #[error("the username is a deactivated user's, or another user's in other spelling")]
    NameTaken,
    /// The Flex user is deactivated. The claims of a token never reactivate a user.
    #[error("the Flex user is deactivated")]
    Deactivated(FlexUserSid),
    /// Twilio reactivated an old user instead of creating a new one. Flexgate has deactivated the old user again and
    /// has bound no identity to that user.
    #[error("the username was somebody's: provisioning brought their Flex user back, and it was deactivated again")]
    BroughtBack(FlexUserSid),
}

/// Decides whether `subject` refers to `person`. `subject` is an id that `source` uses, and `person` has the username
/// that `source` sent.
///
/// `subject` is `None` for the API and for operators, which have no ids of their own for people. `gives_access` is
/// false for a statement that only removes access. Such a statement is accepted even if another source says that the
/// person is inactive.
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
