//! Makes sure that Flex keeps at least one active administrator.
//!
//! Flexgate refuses a change that would remove the last administrator, whichever source asks for it. Changes that
//! remove an administrator run one at a time. If two such changes ran at the same time, each would still see the
//! administrator whom the other one removes, and together they could remove the last two.

use std::time::Duration;

use super::reconcile::AFTERMATH;
use super::state::Change;
use super::{Ledger, LedgerError};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Active, Desired};
use crate::domain::{FlexUser, Role};
use crate::store::PersonKey;
use crate::store::scim::{Begun, Work};
use crate::users::{LastAdmin, Pages};

/// The name of the administrators' lock.
const ADMINS: &str = "admins";

/// The pause between two requests for the lock.
const PAUSE: Duration = Duration::from_millis(50);

/// The administrators' lock. `None` if the change does not need the lock.
#[must_use]
pub(super) struct Guarded(Option<Work>);

impl Ledger {
    /// Whether the change from `user` to the desired state could remove an administrator. Always false if the settings
    /// do not protect the last administrator.
    pub(super) fn takes_an_admin(&self, user: Option<&FlexUser>, desired: &Desired) -> bool {
        let Some(user) = user.filter(|user| !user.is_deactivated()) else { return false };
        let is_admin = user.roles.as_ref().is_none_or(|roles| roles.known().contains(&Role::Admin));
        let stays = desired.active != Active::No && desired.roles.contains(&Role::Admin);
        self.last_admin == LastAdmin::Protected && is_admin && !stays
    }

    /// Takes the administrators' lock if the change removes an administrator. Returns an error if the change would
    /// remove the last administrator.
    pub(super) async fn guard(&self, change: &Change, deadline: Deadline) -> Result<Guarded, LedgerError> {
        let Some(user) = change.observed.as_ref().filter(|user| self.takes_an_admin(Some(user), &change.desired))
        else {
            return Ok(Guarded(None));
        };
        let locked = self.lock_admins(deadline).await?;
        match self.another_admin(user, deadline).await {
            Ok(()) => Ok(locked),
            Err(error) => {
                self.unguard(locked).await?;
                Err(error)
            }
        }
    }

    /// Takes the administrators' lock. The caller must keep it during a change that removes an administrator.
    pub(super) async fn lock_admins(&self, deadline: Deadline) -> Result<Guarded, LedgerError> {
        let work = Work { name: ADMINS.to_owned(), holder: u128::from_be_bytes(self.clock_rng.random()) };
        loop {
            let now = self.clock_rng.now();
            match self.scim.begin(&work, now, now + deadline.remaining() + AFTERMATH).await? {
                Begun::Yes { .. } => return Ok(Guarded(Some(work))),
                Begun::Held(until) if deadline.remaining() <= PAUSE * 4 => {
                    return Err(LedgerError::Busy((until - now).try_into().unwrap_or_default()));
                }
                Begun::Held(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Releases the lock. Does nothing if the lock has expired and belongs to another process now.
    pub(super) async fn unguard(&self, guarded: Guarded) -> Result<(), LedgerError> {
        match &guarded.0 {
            Some(work) => Ok(self.scim.finish(work).await?),
            None => Ok(()),
        }
    }

    /// Returns an error unless Flex has an active administrator other than `user`. Reads each administrator in
    /// Twilio's list again, because the list may be out of date.
    pub(super) async fn another_admin(&self, user: &FlexUser, deadline: Deadline) -> Result<(), LedgerError> {
        self.another_admin_beside(user, &[], deadline).await
    }

    /// Like [`Self::another_admin`], but ignores the users in `leaving`, who are about to lose the role `admin`.
    pub(super) async fn another_admin_beside(
        &self,
        user: &FlexUser,
        leaving: &[FlexUser],
        deadline: Deadline,
    ) -> Result<(), LedgerError> {
        let flex = self.provisioning.flex();
        let is_admin = |user: &FlexUser| {
            user.is_active() && user.roles.as_ref().is_some_and(|roles| roles.known().contains(&Role::Admin))
        };
        let is_the_user = |other: &FlexUser| other.flex_user_sid == user.flex_user_sid;
        let mut pages = Pages::of(flex);
        while let Some(users) = pages.next(deadline).await? {
            // If Twilio's earlier answer did not contain the roles of `user`, this list may contain them. If this list
            // shows that the user is not an administrator, the change removes no administrator.
            if user.roles.is_none() && users.iter().any(|other| is_the_user(other) && shows_no_admin(other)) {
                return Ok(());
            }
            let is_leaving = |other: &FlexUser| leaving.iter().any(|one| one.flex_user_sid == other.flex_user_sid);
            let others = users.iter().filter(|other| !is_the_user(other) && !is_leaving(other));
            for other in others.filter(|other| is_admin(other)) {
                // If a source says that this administrator is inactive, Flexgate will deactivate them soon. So do not
                // count this administrator.
                let person = self.people.person(&PersonKey::FlexUser(other.flex_user_sid.clone())).await?;
                if person.is_some_and(|person| person.inactive_by().next().is_some()) {
                    continue;
                }
                if is_admin(&flex.get(&other.flex_user_sid, deadline).await?) {
                    return Ok(());
                }
            }
        }
        Err(LedgerError::LastAdmin)
    }
}

/// Whether Twilio sent the user's roles and `admin` is not among them.
fn shows_no_admin(user: &FlexUser) -> bool {
    user.roles.as_ref().is_some_and(|roles| !roles.known().contains(&Role::Admin))
}
