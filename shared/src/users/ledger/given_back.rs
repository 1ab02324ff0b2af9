//! Undoes a mint that has reactivated somebody else's user.
//!
//! If a user with the username already exists, Twilio's create request updates and reactivates that user. This can be
//! an old user whom no search had shown. The dates in Twilio's answer reveal such a user.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{Ledger, LedgerError};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Given, Person, Source, Statement};
use crate::domain::{EventId, FlexUser, FlexUserSid};
use crate::store::{Stating, Written};
use crate::twilio::TwilioError;

/// The tolerated difference between Twilio's clock and Flexgate's clock.
const CLOCKS: Duration = Duration::minutes(5);

/// The largest rounding error in the time between two of Twilio's dates. Twilio rounds each date to a second.
const ROUNDING: Duration = Duration::seconds(2);

impl Ledger {
    /// Returns the user with its creation date. Reads the user again if Twilio's answer to the provisioning request
    /// lacks this date.
    pub(super) async fn dated(&self, user: FlexUser, deadline: Deadline) -> Result<FlexUser, LedgerError> {
        if user.created_date.is_some() {
            return Ok(user);
        }
        let found = self.provisioning.flex().find(&user.username, deadline).await?;
        let dates = found.filter(|found| found.flex_user_sid == user.flex_user_sid);
        let (created_date, updated_date) = dates.map(|user| (user.created_date, user.updated_date)).unwrap_or_default();
        Ok(FlexUser { created_date, updated_date, ..user })
    }

    /// Checks a user after a mint whose create request got no answer. If that request reactivated somebody else's
    /// user, deactivates the user again and returns true.
    pub(super) async fn give_back_if_older(
        &self,
        person: &Person,
        user: &FlexUser,
        deadline: Deadline,
    ) -> Result<bool, LedgerError> {
        let Some(since) = person.given.asked_since.filter(|_| is_being_made(person) && user.is_active()) else {
            return Ok(false);
        };
        let user = self.dated(user.clone(), deadline).await?;
        if !was_there_before(&user, since, self.clock_rng.now())? {
            return Ok(false);
        }
        self.give_back(person, user, deadline).await?;
        Ok(true)
    }

    /// Deactivates the user again, and then withdraws the claims about the person. Afterwards the ledger and the
    /// username index both show that the username is not free.
    pub(super) async fn give_back(
        &self,
        person: &Person,
        user: FlexUser,
        deadline: Deadline,
    ) -> Result<(), LedgerError> {
        self.provisioning.deprovision(&user.flex_user_sid, deadline).await?;
        let sid = user.flex_user_sid.clone();
        self.see(&FlexUser { deactivated: Some(true), worker_sid: None, ..user }).await?;
        self.withdraw_claims(person, Some(sid)).await
    }

    /// Withdraws all claims about the person, and records that Flexgate no longer gives the person any role.
    pub(super) async fn withdraw_claims(&self, person: &Person, user: Option<FlexUserSid>) -> Result<(), LedgerError> {
        let mut person = person.clone();
        let is_claims = |source: &&Source| matches!(source, Source::Claims(_));
        let sources: Vec<Source> = person.statements.keys().filter(is_claims).cloned().collect();
        let id = EventId::from(u128::from_be_bytes(self.clock_rng.random()));
        for source in sources {
            let silent = Statement::in_full(self.clock_rng.now(), &id);
            let stating = Stating { source: &source, statement: &silent, subject: None, given: None };
            match self.people.state(person.id, person.version, stating).await? {
                Written::Yes(version) => person.version = version,
                Written::Moved => return Ok(()),
            }
        }
        let taken = person.given.roles.union(&person.given.taken).copied().collect();
        person.given = Given { taken, asked_since: None, roles: [].into(), ..person.given };
        person.flex_user_sid = user.or(person.flex_user_sid);
        self.note_settled(&person).await?;
        Ok(())
    }
}

/// Whether a mint has asked Twilio to create the person's user and has got no answer.
pub(super) fn is_being_made(person: &Person) -> bool {
    person.flex_user_sid.is_none() && person.given.asked_since.is_some()
}

/// Whether Twilio's dates show that the user existed before `since`, the time at which Flexgate first asked Twilio to
/// create the user.
///
/// Either of two signs is enough:
/// * The user was last changed long after its creation: the time between these two dates is longer than the time since
///   the request, by more than [`ROUNDING`]. If the request had created the user, this would be impossible. This sign
///   does not depend on the difference between Twilio's clock and Flexgate's clock.
/// * The user's creation date is earlier than `since`, by more than [`CLOCKS`].
pub(super) fn was_there_before(
    user: &FlexUser,
    since: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<bool, LedgerError> {
    let date = |text: &Option<String>| text.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let created =
        date(&user.created_date).ok_or(TwilioError::Malformed("it does not say when the user was created"))?;
    let older_than_us = date(&user.updated_date).is_some_and(|updated| updated - created > now - since + ROUNDING);
    Ok(older_than_us || created < since - CLOCKS)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_user_is_older_than_the_request_by_its_dates_whatever_the_clocks_say() {
        let since = datetime!(2026-03-01 12:00 UTC);
        let user = |created: OffsetDateTime, updated: Option<OffsetDateTime>| FlexUser {
            flex_user_sid: format!("FU{}", "0".repeat(32)).parse().unwrap(),
            username: "ada".parse().unwrap(),
            email: None,
            full_name: None,
            roles: None,
            locale: None,
            deactivated: None,
            worker_sid: None,
            created_date: Some(created.format(&Rfc3339).unwrap()),
            updated_date: updated.map(|updated| updated.format(&Rfc3339).unwrap()),
            version: None,
        };
        let seconds = Duration::seconds;
        let now = since + seconds(1);
        let cases = [
            ("made now", since, Some(since), false),
            ("its answer was lost, and it was asked for again", since, Some(since + seconds(2)), false),
            ("Twilio's clock is behind", since - seconds(240), Some(since - seconds(239)), false),
            ("Twilio's clock is ahead", since + seconds(240), Some(since + seconds(241)), false),
            ("four seconds old", since - seconds(4), Some(since + seconds(1)), true),
            ("four seconds old, the clock ahead", since + seconds(100), Some(since + seconds(105)), true),
            ("old, and Twilio does not say when it changed", since - Duration::DAY, None, true),
            ("new, and Twilio does not say when it changed", since - seconds(4), None, false),
        ];
        for (case, created, updated, expected) in cases {
            assert_eq!(was_there_before(&user(created, updated), since, now).unwrap(), expected, "{case}");
        }
        // A day has passed between the mint's create request and this check.
        let found = user(since + seconds(1), Some(since + seconds(1)));
        assert!(!was_there_before(&found, since, since + Duration::DAY).unwrap());
        let silent = FlexUser { created_date: None, ..found };
        assert!(was_there_before(&silent, since, now).is_err());
    }
}
