//! Turns identity events into statements for the people ledger, which stores what each source says about a person.
//!
//! From these statements, the ledger decides how the Flex user must change. It ignores an event that it has already
//! applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::{RoleReason, Said, Source, Statement};
use flexgate::domain::{Action, FlexUserSid, IdentityEvent, RoleSet};
use flexgate::store::{Ended, EventHistory};
use flexgate::users::Provisioning;
use flexgate::users::ledger::{Earlier, Ledger, LedgerError, News, Outcome, Report};

/// The maximum length of a stored role name, in characters.
const MAX_ROLE: usize = 64;

/// Applies identity events.
#[derive(Debug)]
pub(crate) struct EventApplier {
    ledger: Ledger,
    provisioning: Arc<Provisioning>,
    /// The store of the events that Flexgate applied before the people ledger existed.
    history: Arc<dyn EventHistory>,
    /// The roles in `FLEXGATE_ALLOWED_ROLES`. Before the people ledger existed, Flexgate did not record which roles it
    /// gave, but it could give only these roles.
    allowed_roles: RoleSet,
}

/// The result of applying an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) outcome: Outcome,
    /// The Flex user that the event is about, if there is one.
    pub(crate) user: Option<FlexUserSid>,
    /// The roles that the event named but Flexgate did not give to the user.
    pub(crate) dropped_roles: Vec<String>,
    /// Fields that Flexgate left unchanged. A request to Twilio with these fields would also remove a role that
    /// Flexgate cannot give.
    pub(crate) blocked: Vec<&'static str>,
}

impl EventApplier {
    pub(crate) fn new(
        ledger: Ledger,
        provisioning: Arc<Provisioning>,
        history: Arc<dyn EventHistory>,
        allowed_roles: RoleSet,
    ) -> Self {
        Self { ledger, provisioning, history, allowed_roles }
    }

    /// Reads the Twilio credential before the first event.
    pub(crate) async fn prewarm(&self, deadline: Deadline) {
        self.provisioning.prewarm(deadline).await;
    }

    /// Records the event's statement in the ledger. Then updates the Flex user to match the ledger.
    pub(crate) async fn apply(&self, event: &IdentityEvent, deadline: Deadline) -> Result<Applied, LedgerError> {
        let source = Source::Webhook(event.source.clone());
        let mut news = News {
            subject: Some(event.subject.id.clone()),
            identity: event.subject.identity(),
            username: event.profile.username.clone(),
            flex_user_sid: None,
            statement: statement(event),
            earlier: Earlier::Everything,
            source: source.clone(),
        };
        let known = self.ledger.knows(&source, &event.subject.id).await?;
        if !known {
            if !self.continued(event, &mut news).await? {
                let (dropped_roles, blocked) = (Vec::new(), Vec::new());
                return Ok(Applied { outcome: Outcome::Stale, user: None, dropped_roles, blocked });
            }
            self.ledger.recall(&source, &event.subject.id, &mut news.statement).await?;
        }
        self.ledger.without_ended(&source, &mut news.statement).await?;
        let mut report = self.ledger.state(&news, deadline).await?;
        // The person's group or directory may have been deleted since the check above, and the job that handles the
        // deletion may have missed this person. So check again.
        if self.ledger.without_ended(&source, &mut news.statement).await? {
            report = self.ledger.state(&news, deadline).await?;
        }
        if !known && report.outcome == Outcome::NoUser {
            let Statement { active, restored, memberships, directory, .. } = news.statement;
            // It is possible that this person never becomes a Flex user, so store no profile data.
            let access = Statement { active, restored, memberships, directory, ..Statement::default() };
            if !access.is_silent() {
                self.ledger.keep(&source, &event.subject.id, &access).await?;
            }
        }
        Ok(Applied {
            outcome: report.outcome,
            dropped_roles: dropped(&report, &source, event),
            user: report.user.map(|user| user.flex_user_sid),
            blocked: report.blocked,
        })
    }

    /// Whether the ledger knows the event's subject, or a binding exists for the event's identity.
    pub(crate) async fn may_concern(&self, event: &IdentityEvent) -> Result<bool, LedgerError> {
        if self.ledger.knows(&Source::Webhook(event.source.clone()), &event.subject.id).await? {
            return Ok(true);
        }
        match event.subject.identity() {
            Some(identity) => Ok(self.provisioning.bindings().user_of(&identity).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Applies the deletion of a group or a directory to one person who belonged to it.
    pub(crate) async fn end(
        &self,
        event: &IdentityEvent,
        ended: &Ended,
        deadline: Deadline,
    ) -> Result<Applied, LedgerError> {
        let source = Source::Webhook(event.source.clone());
        let statement = self.ledger.consequence(&source, &event.subject.id, ended, &event.moment()).await?;
        let news = News {
            subject: Some(event.subject.id.clone()),
            identity: None,
            username: None,
            flex_user_sid: None,
            statement,
            earlier: Earlier::Everything,
            source,
        };
        let report = self.ledger.state(&news, deadline).await?;
        Ok(Applied {
            outcome: report.outcome,
            user: report.user.map(|user| user.flex_user_sid),
            dropped_roles: Vec::new(),
            blocked: report.blocked,
        })
    }

    /// Adds to `news` the data that Flexgate stored about the person before the people ledger existed. Without this
    /// data, an old event could undo a newer one. Returns false if the stored data is at least as new as the event.
    async fn continued(&self, event: &IdentityEvent, news: &mut News) -> Result<bool, LedgerError> {
        let history = self.history.history(&event.source, &event.subject.id).await?;
        let moment = Some(event.moment());
        if history.status >= moment && history.profile >= moment {
            return Ok(false);
        }
        if history.profile >= moment {
            let said = std::mem::take(&mut news.statement);
            let Statement { active, memberships, directory, .. } = said;
            news.statement = Statement { active, memberships, directory, ..Statement::default() };
        }
        if let Some(status) = history.status.filter(|status| status.deactivates || event.membership.is_none()) {
            let value = !status.deactivates;
            let earlier = Statement { active: Some(Said { moment: status, value }), ..Statement::default() };
            // A membership activates the person only if the membership began after the last deactivation.
            if event.membership.is_none() || earlier.active > news.statement.memberships.values().next().cloned() {
                news.statement.merge(earlier);
            }
        }
        if history.profile.is_some() && news.statement.roles.is_some() {
            // Before the people ledger existed, Flexgate did not record which roles it gave. So treat every allowed
            // role as given by Flexgate.
            news.earlier = Earlier::AllBut(self.allowed_roles.clone());
        }
        news.flex_user_sid = history.user;
        Ok(true)
    }
}

/// Converts the event to a source's statement.
pub(crate) fn statement(event: &IdentityEvent) -> Statement {
    let (at, id, profile) = (event.occurred_at, &event.id, &event.profile);
    if event.action == Action::EndSessions {
        return Statement::default();
    }
    if event.action == Action::Deactivate {
        let said = Said::access(at, id, false);
        return match &event.membership {
            Some(group) => Statement { memberships: [(group.clone(), said)].into(), ..Statement::default() },
            None => Statement { active: Some(said), ..Statement::default() },
        };
    }
    let joins = event.action == Action::Upsert;
    let said = Said::access(at, id, true);
    let roles = profile.unverified_roles.as_ref().map(|names| names.iter().map(|name| readable(name).into()).collect());
    Statement {
        active: (joins && event.membership.is_none()).then(|| said.clone()),
        restored: (event.action == Action::Restore).then(|| event.moment()),
        memberships: event.membership.iter().filter(|_| joins).map(|group| (group.clone(), said.clone())).collect(),
        directory: event.directory.clone().map(|directory| Said::new(at, id, Some(directory))),
        roles: roles.map(|names: BTreeSet<Box<str>>| Said::new(at, id, names)),
        email: profile.email.clone().map(|email| Said::new(at, id, Some(email))),
        full_name: profile.full_name.clone().map(|name| Said::new(at, id, Some(name))),
        given_name: profile.given_name.clone().map(|name| Said::new(at, id, Some(name))),
        family_name: profile.family_name.clone().map(|name| Said::new(at, id, Some(name))),
        ..Statement::default()
    }
}

/// Returns the roles that the event names but Flexgate does not give to the person.
fn dropped(report: &Report, source: &Source, event: &IdentityEvent) -> Vec<String> {
    let named = event.profile.unverified_roles.iter().flatten();
    let reasons = report.explanation.as_ref().map(|explanation| &explanation.roles);
    let is_dropped = |name: &&String| {
        let reason = reasons.and_then(|reasons| reasons.get(&*readable(name).to_lowercase()));
        matches!(reason, Some(RoleReason::Forbidden { by } | RoleReason::Unknown { by }) if by.contains(source))
    };
    named.filter(is_dropped).map(|name| readable(name)).collect()
}

/// Returns a role name that is safe to store and log: short, and printable ASCII only.
fn readable(name: &str) -> String {
    name.trim().chars().take(MAX_ROLE).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
