//! Runs the people ledger: checks and stores what a source (SCIM, a webhook, `/users`, …) says about a person, and then
//! updates Flex.
//!
//! These steps run in this order, while the process holds the lease on the person:
//! 1. Read the user from Flex once.
//! 2. Compute what the person should be with the new statement.
//! 3. Check whether the statement must be refused, and stop if so.
//! 4. Store the statement.
//! 5. Store the roles that Flexgate gives.
//! 6. Send the difference to Twilio.
//!
//! After a crash between two steps, the next reconciliation does the remaining steps. After step 4, the source does
//! not have to send its statement again.

mod admit;
mod bearer;
mod claims;
mod endings;
mod error;
mod explain;
mod find;
mod given_back;
mod groups;
mod guard;
mod idle;
mod legacy;
mod news;
mod orphans;
mod preview;
mod reconcile;
mod sources;
mod state;
mod sweep;
mod view;

use std::sync::Arc;

use crate::base::clock_rng::ClockRng;
use crate::domain::ledger::{Explanation, Occasion, Source, Statement};
use crate::domain::policy::Policy;
use crate::domain::{FlexUser, SubjectId, Username};
use crate::platform::Platform;
use crate::store::{People, PersonKey, ScimStore, UsernameIndex};
use crate::users::{GroupRoles, LastAdmin, PolicySettings, Provisioning};

pub use admit::Admitted;
pub use claims::{Followed, TokenClaims};
pub use endings::Concerned;
pub use error::LedgerError;
pub use explain::{Explained, ExplainedField, ExplainedRole, ExplainedSource};
pub use news::{Earlier, News};
pub use preview::Preview;
pub use reconcile::AFTERMATH;
pub use sources::{SourceCount, Withdrawal};
pub use sweep::{SweepError, SweepOptions, Swept, most_losing_access};
pub use view::View;

/// The result of a statement or a reconciliation.
#[derive(Debug, Clone)]
pub struct Report {
    /// The change that was made.
    pub outcome: Outcome,
    /// The Flex user after the change. `None` if there is no Flex user, or if Flexgate did not read it.
    pub user: Option<FlexUser>,
    /// The username in the ledger. `Some` only for [`Outcome::Stale`]; otherwise `user` contains the username.
    pub known_as: Option<Username>,
    /// Why the person is active or inactive and has each role. `None` if Flexgate did not compute this.
    pub explanation: Option<Explanation>,
    /// The fields that differ from the desired state, but that Flexgate did not change. A request that changes them
    /// would also remove a role that Flexgate cannot give.
    pub blocked: Vec<&'static str>,
}

/// The change that a statement or a reconciliation made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No change: the ledger already contained the statement, and Flex matched the ledger.
    Stale,
    /// No change: there is no such Flex user, and Flexgate should not create one.
    NoUser,
    /// No change: the user already had the desired state.
    Unchanged,
    /// The user was created.
    Created,
    /// The user was changed or reactivated.
    Updated,
    /// The user was deactivated.
    Deactivated,
    /// The user differs from the desired state, but Flexgate no longer repairs the difference, because the difference
    /// returned after every earlier repair.
    Contested,
}

impl Outcome {
    /// Returns the outcome's name, as it appears in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::NoUser => "no_user",
            Self::Unchanged => "unchanged",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deactivated => "deactivated",
            Self::Contested => "contested",
        }
    }
}

/// The people ledger and its reconciler.
#[derive(Debug, Clone)]
pub struct Ledger {
    people: Arc<dyn People>,
    /// The SCIM store. It contains the groups, and the lock for changes that remove an administrator.
    scim: Arc<dyn ScimStore>,
    usernames: Arc<dyn UsernameIndex>,
    provisioning: Arc<Provisioning>,
    policy: Policy,
    last_admin: LastAdmin,
    group_roles: GroupRoles,
    clock_rng: ClockRng,
}

impl Ledger {
    /// Makes the ledger of a platform.
    #[must_use]
    pub fn of_platform(platform: &Platform, provisioning: Arc<Provisioning>, settings: &PolicySettings) -> Self {
        Self {
            people: platform.people(),
            scim: platform.scim(),
            usernames: platform.usernames(),
            provisioning,
            policy: settings.policy.clone(),
            last_admin: settings.last_admin,
            group_roles: settings.group_roles.clone(),
            clock_rng: platform.clock_rng.clone(),
        }
    }

    /// Whether the ledger has a person for `subject`, which is an id that `source` uses.
    pub async fn knows(&self, source: &Source, subject: &SubjectId) -> Result<bool, LedgerError> {
        Ok(self.people.person(&PersonKey::Subject(source.clone(), subject.clone())).await?.is_some())
    }

    /// Merges earlier statements of `source` about `subject` into `statement`. The ledger kept them without a person,
    /// because the source had not sent a username.
    pub async fn recall(
        &self,
        source: &Source,
        subject: &SubjectId,
        statement: &mut Statement,
    ) -> Result<(), LedgerError> {
        if let Some(earlier) = self.people.unattached(source, subject).await? {
            statement.merge(earlier);
        }
        Ok(())
    }

    /// Stores the source's statement about a subject for whom the ledger has no person yet.
    pub async fn keep(&self, source: &Source, subject: &SubjectId, statement: &Statement) -> Result<(), LedgerError> {
        Ok(self.people.keep_unattached(source, subject, statement).await?)
    }

    fn occasion(&self) -> Occasion<'static> {
        Occasion::at(self.clock_rng.now())
    }
}
