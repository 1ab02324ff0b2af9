//! The input of the ledger: a message in which a source says something about a person, with the details that identify
//! the person. Such a message is called news.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::domain::ledger::{Person, Repairs, Said, Source, Statement};
use crate::domain::{DesiredUser, EventId, FlexUser, FlexUserSid, Identity, RoleSet, SubjectId, Username};

/// A source's message to the ledger about one person.
#[derive(Debug, Clone)]
pub struct News {
    /// Who says it.
    pub source: Source,
    /// The source's own id for the person, if it has ids for people.
    pub subject: Option<SubjectId>,
    /// The identity in the person's tokens, if the source knows it. Flexgate binds this identity to the Flex user. So
    /// nobody with another identity can get a token for that user.
    pub identity: Option<Identity>,
    /// The Flex username, if the source sends it.
    pub username: Option<Username>,
    /// The Flex user, if the source names one. It is used only if neither the source's own id nor a bound identity
    /// leads to a person.
    pub flex_user_sid: Option<FlexUserSid>,
    /// What is said.
    pub statement: Statement,
    /// Which of the Flex user's earlier roles and statements belong to this person.
    pub earlier: Earlier,
}

/// Which of the Flex user's earlier roles and statements belong to the person that the message is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Earlier {
    /// Everything: it is the same person.
    #[default]
    Everything,
    /// The person keeps everything except these roles. Flexgate removes them even if they were set by hand.
    AllBut(RoleSet),
    /// The person keeps the sources' statements. The person loses the roles that Flex shows and that Flexgate never
    /// gave.
    Statements,
    /// The person keeps nothing. The person is a new owner of the username, and everything earlier belongs to the
    /// previous owner.
    Nothing,
}

impl News {
    /// Creates a message which says that the person is an active user with these fields. It replaces everything that
    /// the source said before about the person. Use it for a `source` without its own ids for people. `at` is the
    /// current time, and `cause` is the id of the request or command.
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

    /// Creates a message which says that the user is inactive. It replaces everything that the source said before about
    /// the user.
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

/// Returns the person with the new statement merged in. Leaves out the roles and statements that, according to
/// `news.earlier`, belong to the previous owner of the Flex user.
pub(super) fn with(before: &Person, news: &News) -> Person {
    let mut person = before.clone();
    person.given.repairs = Repairs::default();
    let statement = person.statements.entry(news.source.clone()).or_default();
    let said = match news.source {
        Source::Webhook(_) | Source::Claims(_) => news.statement.clone(),
        // All other sources send their requests in order, and Flexgate handles each request when it arrives. So a new
        // statement counts as later than everything that the source said before.
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

/// The identity to bind to the Flex user of `before`, whom the ledger already knows. A webhook event may have happened
/// before this person took over the username. Such an event may name the previous owner's identity, which must not be
/// bound.
pub(super) fn bindable<'a>(before: &Person, news: &'a News) -> Option<&'a Identity> {
    let (since, happened) = (before.given.owner_since, news.statement.latest().map(|moment| moment.at));
    let is_earlier = happened.zip(since).is_some_and(|(happened, since)| happened < since);
    news.identity.as_ref().filter(|_| !(is_earlier && matches!(news.source, Source::Webhook(_))))
}
