//! Orphans: active Flex users about whom no source says anything. An orphan uses a Flex licence (seat), and perhaps
//! nobody knows whose account it is. A sweep can deactivate orphans who have no entry in the ledger. An orphan has an
//! entry if, for example, a source has withdrawn its statement.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{Ledger, LedgerError, News};
use crate::domain::ledger::{Person, PersonId, Source};
use crate::domain::{EventId, FlexUser, Role};
use crate::store::Written;

/// Whether a sweep may deactivate the orphan. The orphan's age must be at least `after`, and the orphan must not be an
/// administrator. Administrators are exempt because they are often created by hand. If Twilio's list shows no creation
/// date or no roles for the orphan, the orphan stays active.
pub(super) fn is_due(user: &FlexUser, after: Duration, now: OffsetDateTime) -> bool {
    let created = user.created_date.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let is_old = created.is_some_and(|created| created + after <= now);
    is_old && user.roles.as_ref().is_some_and(|roles| !roles.known().contains(&Role::Admin))
}

impl Ledger {
    /// Stores an operator's statement that the user is inactive. A job then deactivates the user in Flex. Returns
    /// false if another process has added the person to the ledger first.
    pub(super) async fn state_orphan(&self, user: FlexUser, cause: &EventId) -> Result<bool, LedgerError> {
        let news = News::end(Source::Operator, user.clone(), self.clock_rng.now(), cause);
        let id = PersonId::of(self.clock_rng.random());
        let mut person = Person { flex_user_sid: Some(user.flex_user_sid), ..Person::new(id, user.username) };
        person.statements.insert(news.source, news.statement);
        Ok(matches!(self.people.add(&person, None).await?, Written::Yes(_)))
    }
}
