//! Applies security signals from identity providers: ends sessions, deactivates people whose accounts were disabled,
//! and reverses such deactivations.

use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::Source;
use flexgate::domain::{Action, FlexUserSid, IdentityEvent};
use flexgate::platform::Platform;
use flexgate::store::SessionKey;
use flexgate::users::ledger::{Earlier, Ledger, LedgerError, News, Outcome};
use flexgate::users::{PeopleFinder, SessionEnder};

use crate::events::{Applied, statement};

/// Applies security signals.
#[derive(Debug)]
pub(crate) struct Signals {
    ledger: Ledger,
    finder: PeopleFinder,
    ender: SessionEnder,
}

/// The result of applying a signal.
#[derive(Debug)]
pub(crate) struct Signalled {
    /// The sessions that ended, with their Flex users.
    pub(crate) ended: Vec<(FlexUserSid, SessionKey)>,
    /// Whether Flexgate knows the person. If not, Flexgate records the end of the sessions under the username or the
    /// identity in the signal.
    pub(crate) is_known: bool,
    /// The change to the person's access. `None` for a signal that only ends sessions.
    pub(crate) applied: Option<Applied>,
}

impl Signals {
    pub(crate) fn new(ledger: Ledger, platform: &Platform) -> Self {
        Self { ledger, finder: PeopleFinder::of_platform(platform), ender: SessionEnder::of_platform(platform) }
    }

    /// Applies the signal. Ends the sessions first, because ending a session needs no request to Twilio.
    ///
    /// The statement for the ledger does not contain the sender's identifier for the person (`subject`). The sender may
    /// use several identifiers for one person, and the ledger would treat each identifier as a separate person.
    pub(crate) async fn apply(
        &self,
        event: &IdentityEvent,
        people_of: Option<&Source>,
        deadline: Deadline,
    ) -> Result<Signalled, LedgerError> {
        let found = self.finder.find(event, people_of).await?;
        let ended = match event.action {
            Action::EndSessions | Action::Deactivate => self.ender.end(event, &found).await?,
            Action::Upsert | Action::Refresh | Action::Restore => Vec::new(),
        };
        let is_known = !found.is_empty();
        if event.action == Action::EndSessions {
            return Ok(Signalled { ended, is_known, applied: None });
        }
        let mut applied =
            Applied { outcome: Outcome::NoUser, user: None, dropped_roles: Vec::new(), blocked: Vec::new() };
        // `found` usually contains one Flex user. If the identity and the username in the signal belong to different
        // people, `found` contains several Flex users, and the statement applies to each of them.
        let users: Vec<_> = found.users.iter().cloned().map(Some).collect();
        let users = if users.is_empty() { vec![None] } else { users };
        for user in users {
            let username = found.usernames.values().next().cloned().or_else(|| event.profile.username.clone());
            let news = News {
                source: Source::Webhook(event.source.clone()),
                subject: None,
                identity: None,
                username: if user.is_some() { None } else { username },
                flex_user_sid: user,
                statement: statement(event),
                earlier: Earlier::Everything,
            };
            let report = self.ledger.state(&news, deadline).await?;
            applied.outcome = report.outcome;
            applied.user = report.user.map(|user| user.flex_user_sid).or(news.flex_user_sid);
            applied.blocked.extend(report.blocked);
        }
        Ok(Signalled { ended, is_known, applied: Some(applied) })
    }
}
