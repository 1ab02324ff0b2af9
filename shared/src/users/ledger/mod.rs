//! Runs the people ledger: checks and stores what a source says about a person, then updates Flex accordingly.
//!
//! The steps always have the same order, and they run while this process holds the lease on the person:
//! 1. Read the user from Flex once.
//! 2. Compute what the person should be with the new statement.
//! 3. Check whether the statement must be refused, and stop if so.
//! 4. Store the statement.
//! 5. Store which roles Flexgate gives.
//! 6. Send the difference to Twilio.
//!
//! If Flexgate crashes between two steps, the next reconciliation does the remaining ones. Once the statement is stored
//! (step 4), the source does not have to send it again.

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
    /// What was done.
    pub outcome: Outcome,
    /// The Flex user after the change. `None` if there is no Flex user, or if Flexgate did not ask Twilio for it.
    pub user: Option<FlexUser>,
    /// The username under which the ledger knows the person. Set only for [`Outcome::Stale`], because otherwise `user`
    /// has the username.
    pub known_as: Option<Username>,
    /// The reasons for the person's state and roles. `None` if nothing was computed.
    pub explanation: Option<Explanation>,
    /// Fields that Flexgate could not change, because the user has a role in Flex that Flexgate cannot give. A request
    /// that changes these fields would also remove that role.
    pub blocked: Vec<&'static str>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The ledger already held everything in the statement, and Flex matched the ledger. So Flexgate sent nothing to
    /// Twilio.
    Stale,
    /// There is no such Flex user, and Flexgate should not create one.
    NoUser,
    /// The user already had its desired state.
    Unchanged,
    /// The user was created.
    Created,
    /// The user was changed or reactivated.
    Updated,
    /// The user was deactivated.
    Deactivated,
    /// The user differs from its desired state, but Flexgate did not repair it. After each earlier repair, something
    /// other than Flexgate changed the user again.
    Contested,
}

impl Outcome {
    /// For the log.
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

/// The ledger and the reconciler.
#[derive(Debug, Clone)]
pub struct Ledger {
    people: Arc<dyn People>,
    /// Stores the SCIM groups. Also stores the lock that makes changes run one at a time if they remove an
    /// administrator.
    scim: Arc<dyn ScimStore>,
    usernames: Arc<dyn UsernameIndex>,
    provisioning: Arc<Provisioning>,
    policy: Policy,
    last_admin: LastAdmin,
    group_roles: GroupRoles,
    clock_rng: ClockRng,
}

impl Ledger {
    /// The ledger of a platform.
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

    /// Whether the ledger has a person for `subject`, which is an id of a person at `source`.
    pub async fn knows(&self, source: &Source, subject: &SubjectId) -> Result<bool, LedgerError> {
        Ok(self.people.person(&PersonKey::Subject(source.clone(), subject.clone())).await?.is_some())
    }

    /// Merges what `source` said earlier about `subject` into `statement`. The source said it before it sent the
    /// subject's username, so the ledger could not store it with a person.
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

    /// Stores what the source says about a subject for whom the ledger has no person yet.
    pub async fn keep(&self, source: &Source, subject: &SubjectId, statement: &Statement) -> Result<(), LedgerError> {
        Ok(self.people.keep_unattached(source, subject, statement).await?)
    }

    fn occasion(&self) -> Occasion<'static> {
        Occasion::at(self.clock_rng.now())
    }
}
