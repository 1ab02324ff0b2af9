//! The people ledger at work: it validates what a source says, writes it down, and then brings Flex in step with it.
//!
//! The order is always the same. Under the person's lease: read Flex once, compute what the person should be with the
//! new statement, refuse what must be refused, write the statement, record the roles given, send the difference. If
//! Flexgate crashes between any two of these steps, the next reconciliation repairs it and does not need the statement
//! again.

mod admit;
mod bearer;
mod claims;
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
mod reconcile;
mod sources;
mod state;
mod sweep;
mod view;

use std::sync::Arc;

use crate::base::clock_rng::ClockRng;
use crate::domain::ledger::{Explanation, Occasion, Source, Statement};
use crate::domain::policy::Policy;
use crate::domain::{FlexUser, SubjectId};
use crate::platform::Platform;
use crate::store::{People, PersonKey, ScimStore, UsernameIndex};
use crate::users::{GroupRoles, LastAdmin, PolicySettings, Provisioning};

pub use admit::Admitted;
pub use claims::{Followed, TokenClaims};
pub use error::LedgerError;
pub use explain::{Explained, ExplainedField, ExplainedRole, ExplainedSource};
pub use news::{Earlier, News};
pub use reconcile::AFTERMATH;
pub use sources::{SourceCount, Withdrawal};
pub use sweep::{SweepError, SweepOptions, Swept, most_losing_access};
pub use view::View;

/// What a statement or a reconciliation did to a person.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was done.
    pub outcome: Outcome,
    /// The Flex user as it is now, if there is one and Flex was asked.
    pub user: Option<FlexUser>,
    /// Why the person is what they are; `None` if nothing was computed.
    pub explanation: Option<Explanation>,
    /// Fields that could not be changed, because Flex shows a role that Flexgate cannot give.
    pub blocked: Vec<&'static str>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The ledger already held everything that was said, and Flex was in step with it. Twilio was not asked.
    Stale,
    /// There is no such Flex user, and none should be created.
    NoUser,
    /// The user was as it should be.
    Unchanged,
    /// The user was created.
    Created,
    /// The user was changed or reactivated.
    Updated,
    /// The user was deactivated.
    Deactivated,
    /// The user differs from what it should be, but Flexgate left it so: somebody else undoes each repair.
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
    /// Holds the SCIM groups, and the lock that serialises changes that take an administrator away.
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

    /// Whether the ledger knows the person whom `source` calls `subject`.
    pub async fn knows(&self, source: &Source, subject: &SubjectId) -> Result<bool, LedgerError> {
        Ok(self.people.person(&PersonKey::Subject(source.clone(), subject.clone())).await?.is_some())
    }

    /// Merges into `statement` what the source said about the subject before it said who they are.
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

    /// Keeps what the source says about a subject whom the ledger does not know.
    pub async fn keep(&self, source: &Source, subject: &SubjectId, statement: &Statement) -> Result<(), LedgerError> {
        Ok(self.people.keep_unattached(source, subject, statement).await?)
    }

    fn occasion(&self) -> Occasion<'static> {
        Occasion::at(self.clock_rng.now())
    }
}
