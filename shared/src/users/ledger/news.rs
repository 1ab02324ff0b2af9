//! What sources tell the ledger.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::domain::ledger::{Person, Repairs, Said, Source, Statement};
use crate::domain::{DesiredUser, EventId, FlexUser, FlexUserSid, Identity, RoleSet, SubjectId, Username};

/// What one source says about one person.
#[derive(Debug, Clone)]
pub struct News {
    /// Who says it.
    pub source: Source,
    /// What the source calls the person, if it has ids of its own for people.
    pub subject: Option<SubjectId>,
    /// The identity that tokens use for the person, if the source knows it. It is bound to the Flex user, so that
    /// nobody else's token can claim that user.
    pub identity: Option<Identity>,
    /// The Flex username, if the source says it.
    pub username: Option<Username>,
    /// The Flex user that the source is known to mean, if the ledger does not know the person yet.
    pub flex_user_sid: Option<FlexUserSid>,
    /// What is said.
    pub statement: Statement,
    /// How much of what the Flex user's previous owner had belongs to this person.
    pub earlier: Earlier,
}

/// How much of what the Flex user's previous owner had belongs to the person whom the news is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Earlier {
    /// Everything: it is the same person.
    #[default]
    Everything,
    /// Everything but these roles. Flexgate takes them away, even if they were made by hand.
    AllBut(RoleSet),
    /// What sources say, but not the roles that Flex shows although Flexgate never gave them.
    Statements,
    /// Nothing: it is somebody else, who takes over the username.
    Nothing,
}

impl News {
    /// Says that the person is an active user as described, and replaces everything the source said before. `source`
    /// has no ids of its own for people, `at` is the time, and `cause` is the request or command.
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

    /// Says that the user is inactive, and replaces everything the source said before.
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

/// The person with the statement merged in, and without what belongs to the previous owner of the Flex user.
pub(super) fn with(before: &Person, news: &News) -> Person {
    let mut person = before.clone();
    person.given.repairs = Repairs::default();
    let statement = person.statements.entry(news.source.clone()).or_default();
    let said = match news.source {
        Source::Webhook(_) | Source::Claims(_) => news.statement.clone(),
        // These requests are answered at once, so the statement counts as later than everything the source said before.
        _ => news.statement.clone().made_after(statement.latest()),
    };
    statement.merge(said);
    if let Some(subject) = &news.subject {
        person.subjects.insert(news.source.clone(), subject.clone());
    }
    match &news.earlier {
        Earlier::Everything | Earlier::Nothing => {}
        Earlier::AllBut(roles) => person.given.taken.extend(roles),
        Earlier::Statements => {
            person.given.taking_over = true;
            person.given.owner_since = news.statement.latest().map(|moment| moment.at);
        }
    }
    person
}

/// The identity that the news binds to the Flex user of `before`, a person whom the ledger knows. An event that happened
/// before they took the username over may name the previous owner's.
pub(super) fn bindable<'a>(before: &Person, news: &'a News) -> Option<&'a Identity> {
    let (since, happened) = (before.given.owner_since, news.statement.latest().map(|moment| moment.at));
    let is_earlier = happened.zip(since).is_some_and(|(happened, since)| happened < since);
    news.identity.as_ref().filter(|_| !(is_earlier && matches!(news.source, Source::Webhook(_))))
}
