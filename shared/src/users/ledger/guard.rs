//! The last administrator.
//!
//! This is the only thing that may refuse a deactivation, whichever way it comes in. Two who take away the last two
//! administrators must not both find the other one still there, so they take turns.

use std::time::Duration;

use super::{Ledger, LedgerError};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Active, Desired};
use crate::domain::{FlexUser, Role};
use crate::store::scim::Begun;
use crate::users::{LastAdmin, Pages};

/// The work of which there is one at a time.
const ADMINS: &str = "admins";

/// How long to wait before the lock is asked for again.
const PAUSE: Duration = Duration::from_millis(50);

impl Ledger {
    /// Whether bringing `user` to what is desired takes an administrator away.
    pub(super) fn takes_an_admin(&self, user: Option<&FlexUser>, desired: &Desired) -> bool {
        let Some(user) = user.filter(|user| !user.is_deactivated()) else { return false };
        let is_admin = user.roles.as_ref().is_none_or(|roles| roles.known().contains(&Role::Admin));
        let stays = desired.active != Active::No && desired.roles.contains(&Role::Admin);
        self.last_admin == LastAdmin::Protected && is_admin && !stays
    }

    /// Takes the lock; whoever takes an administrator away holds it until that is done.
    pub(super) async fn lock_admins(&self, deadline: Deadline) -> Result<(), LedgerError> {
        loop {
            let now = self.clock_rng.now();
            match self.scim.begin(ADMINS, now, now + deadline.remaining() + Duration::from_secs(1)).await? {
                Begun::Yes { .. } => return Ok(()),
                Begun::Busy if deadline.remaining() <= PAUSE * 4 => return Err(LedgerError::Busy),
                Begun::Busy => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    pub(super) async fn unlock_admins(&self) -> Result<(), LedgerError> {
        Ok(self.scim.finish(ADMINS).await?)
    }

    /// Refuses unless Flex has another active administrator than `user`. A list may be out of date, so whoever it
    /// shows is confirmed by a read of their own.
    pub(super) async fn another_admin(&self, user: &FlexUser, deadline: Deadline) -> Result<(), LedgerError> {
        self.another_admin_beside(user, &[], deadline).await
    }

    /// The same, where `leaving` are not administrators for much longer either.
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
            // Where Twilio left out the user's own roles, the list may tell that they are no administrator.
            if user.roles.is_none() && users.iter().any(|other| is_the_user(other) && shows_no_admin(other)) {
                return Ok(());
            }
            let is_leaving = |other: &FlexUser| leaving.iter().any(|one| one.flex_user_sid == other.flex_user_sid);
            let others = users.iter().filter(|other| !is_the_user(other) && !is_leaving(other));
            for other in others.filter(|other| is_admin(other)) {
                if is_admin(&flex.get(&other.flex_user_sid, deadline).await?) {
                    return Ok(());
                }
            }
        }
        Err(LedgerError::LastAdmin)
    }
}

/// Whether Twilio says the user's roles, and none of them is the administrator's.
fn shows_no_admin(user: &FlexUser) -> bool {
    user.roles.as_ref().is_some_and(|roles| !roles.known().contains(&Role::Admin))
}
