//! The ledger's input, which the code calls news: a source's statement about a person, with the details that identify
//! the person.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::domain::ledger::{Person, Repairs, Said, Source, Statement};
use crate::domain::{DesiredUser, EventId, FlexUser, FlexUserSid, Identity, RoleSet, SubjectId, Username};

/// A source's message to the ledger about one person.
#[derive(Debug, Clone)]
pub struct News {
    /// The source that sent the message.
    pub source: Source,
    /// The source's id for the person. `None` if the source has no ids for people.
    pub subject: Option<SubjectId>,
    /// The identity in the person's tokens. `None` if the source does not know it. Flexgate binds this identity to
    /// the Flex user, so nobody else can get a token for that user.
    pub identity: Option<Identity>,
    /// The Flex username. `None` if the source does not send it.
    pub username: Option<Username>,
    /// The Flex user that the source names. It is used only if neither the source's id nor a bound identity leads to
    /// a person.
    pub flex_user_sid: Option<FlexUserSid>,
    /// The source's statement about the person.
    pub statement: Statement,
    /// Which earlier roles and statements the person keeps.
    pub earlier: Earlier,
}

/// Which of the earlier roles and statements the person keeps after the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Earlier {
    /// The person keeps all roles and statements.
    #[default]
    Everything,
    /// The person keeps everything except these roles. Flexgate removes them even if they were set by hand.
    AllBut(RoleSet),
    /// The person keeps the statements. Roles in Flex that Flexgate never gave are removed.
    Statements,
    /// The person keeps nothing, because everything earlier belongs to the previous owner of the username.
    Nothing,
}

impl News {
    /// Makes a message that the person is an active user with these fields. It replaces the source's whole earlier
    /// statement. Use it only for a `source` without its own ids for people.
    ///
    /// `at` is the current time, and `cause` is the id of the request or command.
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

    /// Makes a message that the user is inactive. It replaces the source's whole earlier statement about the user.
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

/// Returns the person with the new statement merged in. Also records which earlier roles the person must lose according
/// to `news.earlier`.
pub(super) fn with(before: &Person, news: &News) -> Person {
    let mut person = before.clone();
    person.given.repairs = Repairs::default();
    let statement = person.statements.entry(news.source.clone()).or_default();
    let said = match news.source {
        Source::Webhook(_) | Source::Claims(_) => news.statement.clone(),
        // Webhook events and tokens can arrive out of order. Flexgate handles the requests from every other source one
        // after another, so a new statement is always later than the earlier statements of its source.
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

/// Returns the identity to bind to the Flex user of `before`. If a webhook event happened before a takeover, its
/// identity may be that of the previous owner, and must not be bound.
pub(super) fn bindable<'a>(before: &Person, news: &'a News) -> Option<&'a Identity> {
    let (since, happened) = (before.given.owner_since, news.statement.latest().map(|moment| moment.at));
    let is_earlier = happened.zip(since).is_some_and(|(happened, since)| happened < since);
    news.identity.as_ref().filter(|_| !(is_earlier && matches!(news.source, Source::Webhook(_))))
}
