//! Turns identity events into statements of the people ledger.
//!
//! An event changes only the fields it names. The ledger decides what follows from it. The ledger also recognises an
//! event it has already applied, so applying one twice sends nothing to Twilio.

use std::collections::BTreeSet;
use std::sync::Arc;

use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::{RoleReason, Said, Source, Statement};
use flexgate::domain::{Action, FlexUserSid, IdentityEvent, RoleSet};
use flexgate::store::EventHistory;
use flexgate::users::Provisioning;
use flexgate::users::ledger::{Earlier, Ledger, LedgerError, News, Outcome, Report};

/// The longest role name that is kept, in characters.
const MAX_ROLE: usize = 64;

/// Applies identity events.
#[derive(Debug)]
pub(crate) struct EventApplier {
    ledger: Ledger,
    provisioning: Arc<Provisioning>,
    /// The events that were applied before the people ledger existed.
    history: Arc<dyn EventHistory>,
    /// The roles that may have been given before the people ledger existed.
    allowed_roles: RoleSet,
}

/// The result of applying an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// What was done.
    pub(crate) outcome: Outcome,
    /// The Flex user it was done to, if there is one.
    pub(crate) user: Option<FlexUserSid>,
    /// Names of roles that the event asked for and the user did not get.
    pub(crate) dropped_roles: Vec<String>,
    /// Fields left unchanged because the user has a role that Flexgate cannot give.
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

    /// Reads the Twilio credential ahead of the first event.
    pub(crate) async fn prewarm(&self, deadline: Deadline) {
        self.provisioning.prewarm(deadline).await;
    }

    /// Records the event's statement in the ledger, then brings the Flex user in step with the ledger.
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
        let report = self.ledger.state(&news, deadline).await?;
        if !known && report.outcome == Outcome::NoUser {
            let Statement { active, restored, memberships, .. } = news.statement;
            // Do not store profile data about a person who may never be a Flex user.
            let access = Statement { active, restored, memberships, ..Statement::default() };
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

    /// Continues from what was applied before the people ledger existed: an older event does not undo it. Returns false
    /// if nothing in the event is new.
    async fn continued(&self, event: &IdentityEvent, news: &mut News) -> Result<bool, LedgerError> {
        let history = self.history.history(&event.source, &event.subject.id).await?;
        let moment = Some(event.moment());
        if history.status >= moment && history.profile >= moment {
            return Ok(false);
        }
        if history.profile >= moment {
            let said = std::mem::take(&mut news.statement);
            news.statement = Statement { active: said.active, memberships: said.memberships, ..Statement::default() };
        }
        if let Some(status) = history.status.filter(|status| status.deactivates || event.membership.is_none()) {
            let value = !status.deactivates;
            let earlier = Statement { active: Some(Said { moment: status, value }), ..Statement::default() };
            // As in earlier versions, a membership that began after the last one ended makes the person active.
            if event.membership.is_none() || earlier.active > news.statement.memberships.values().next().cloned() {
                news.statement.merge(earlier);
            }
        }
        if history.profile.is_some() && news.statement.roles.is_some() {
            // Earlier versions did not record which roles they gave. Every role that they could have given counts as
            // given by them, and an event that names roles replaces them, as it did then.
            news.earlier = Earlier::AllBut(self.allowed_roles.clone());
        }
        news.flex_user_sid = history.user;
        Ok(true)
    }
}

/// The statement that the event makes.
fn statement(event: &IdentityEvent) -> Statement {
    let (at, id, profile) = (event.occurred_at, &event.id, &event.profile);
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
        roles: roles.map(|names: BTreeSet<Box<str>>| Said::new(at, id, names)),
        email: profile.email.clone().map(|email| Said::new(at, id, Some(email))),
        full_name: profile.full_name.clone().map(|name| Said::new(at, id, Some(name))),
        given_name: profile.given_name.clone().map(|name| Said::new(at, id, Some(name))),
        family_name: profile.family_name.clone().map(|name| Said::new(at, id, Some(name))),
        ..Statement::default()
    }
}

/// The roles that the event names but the person does not get from it.
fn dropped(report: &Report, source: &Source, event: &IdentityEvent) -> Vec<String> {
    let named = event.profile.unverified_roles.iter().flatten();
    let reasons = report.explanation.as_ref().map(|explanation| &explanation.roles);
    let is_dropped = |name: &&String| {
        let reason = reasons.and_then(|reasons| reasons.get(&*readable(name).to_lowercase()));
        matches!(reason, Some(RoleReason::Forbidden { by } | RoleReason::Unknown { by }) if by.contains(source))
    };
    named.filter(is_dropped).map(|name| readable(name)).collect()
}

/// A role name, cut down to what is safe to store and log.
fn readable(name: &str) -> String {
    name.trim().chars().take(MAX_ROLE).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
