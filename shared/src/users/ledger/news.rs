//! What is brought to the ledger.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::domain::ledger::{Said, Source, Statement};
use crate::domain::{DesiredUser, EventId, FlexUser, FlexUserSid, Identity, RoleSet, SubjectId, Username};

/// What one source says about one person.
#[derive(Debug, Clone)]
pub struct News {
    /// Who says it.
    pub source: Source,
    /// What the source calls the person, if it has a name of its own for people.
    pub subject: Option<SubjectId>,
    /// The identity under which tokens know the person, if the source knows it. It is bound to the Flex user, so that
    /// nobody else's token can claim that user.
    pub identity: Option<Identity>,
    /// The Flex username, if the source says it.
    pub username: Option<Username>,
    /// The Flex user that the source is known to mean, if the ledger does not know the person yet.
    pub flex_user_sid: Option<FlexUserSid>,
    /// What is said.
    pub statement: Statement,
    /// What of the person who had the Flex user until now is theirs.
    pub earlier: Earlier,
}

/// What of the person who had the Flex user until now belongs to the one who is spoken of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Earlier {
    /// Everything: it is the same person.
    #[default]
    Everything,
    /// Everything but these roles. They are taken away, though they were made by hand.
    AllBut(RoleSet),
    /// What sources say. The roles that Flex shows and nobody gave are not theirs.
    Statements,
    /// Nothing: it is somebody else, who takes the username over.
    Nothing,
}

impl News {
    /// That the person is an active user as described, and nothing else any more. By a source that has no names of its
    /// own for people, at `at`, because of the request or command `cause`.
    #[must_use]
    pub fn user(source: Source, user: DesiredUser, at: OffsetDateTime, cause: &EventId) -> Self {
        let roles: BTreeSet<Box<str>> = user.roles.iter().map(|role| role.as_str().into()).collect();
        let statement = Statement {
            active: Some(Said::access(at, cause, true)),
            roles: Some(Said::new(at, cause, roles)),
            email: Some(Said::new(at, cause, Some(user.email))),
            full_name: Some(Said::new(at, cause, Some(user.full_name))),
            attributes: user.worker_attributes.map(|attributes| Said::new(at, cause, Some(attributes))),
            ..Statement::in_full(at, cause)
        };
        Self::of(source, user.username, None, statement)
    }

    /// That the user is inactive, and nothing else any more.
    #[must_use]
    pub fn end(source: Source, user: FlexUser, at: OffsetDateTime, cause: &EventId) -> Self {
        let statement = Statement { active: Some(Said::access(at, cause, false)), ..Statement::in_full(at, cause) };
        Self::of(source, user.username, Some(user.flex_user_sid), statement)
    }

    fn of(source: Source, username: Username, user: Option<FlexUserSid>, statement: Statement) -> Self {
        Self {
            source,
            subject: None,
            identity: None,
            username: Some(username),
            flex_user_sid: user,
            statement,
            earlier: Earlier::Everything,
        }
    }
}
