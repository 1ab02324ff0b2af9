//! Decides whether a source may speak about the person who has a username.

use super::person::Person;
use super::source::Source;
use crate::event::SubjectId;
use crate::sid::FlexUserSid;

/// Which person a source's subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// It is the person who has the username.
    Same,
    /// It is somebody else, who takes over the username: a new person, to whom nothing of the earlier one belongs.
    NewPerson,
}

/// Why a source's subject cannot be the person who has a username.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachmentRefused {
    /// Somebody else has the username: another subject of the same source who has not left, or whoever took it over.
    #[error("another person of {0} has the username")]
    HeldByAnother(Source),
    /// The person is inactive, and the source has not spoken of them before. They may be somebody else.
    #[error(
        "{0} says that the person of that username is inactive; an operator must say whether this is the same person"
    )]
    Inactive(Source),
    /// Flex has a user of that name that a search does not show, or one whose name is spelled differently. Creating a
    /// user for the person would reactivate or overwrite that one.
    #[error("the username is a deactivated user's, or another user's in other spelling")]
    NameTaken,
    /// The Flex user is deactivated, and claims reactivate nobody.
    #[error("the Flex user is deactivated")]
    Deactivated(FlexUserSid),
    /// Provisioning reactivated a user who existed before the request and whom no lookup had shown. Flexgate has
    /// deactivated that user again and bound nobody to it.
    #[error("the username was somebody's: provisioning brought their Flex user back, and it was deactivated again")]
    BroughtBack(FlexUserSid),
}

/// Decides whether `subject` of `source` is `person`, who has the username that the source names.
///
/// A source without subjects of its own (the API, operators) means the person who has the username. `gives_access` is
/// false for a statement that only takes access away; such a statement is accepted even if another source says that the
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
