//! The people ledger at work: what a source says is validated, written down, and then brought to Flex.
//!
//! The order is always the same. Under the person's lease: read Flex once, work out what the person should be with
//! the new statement, refuse what must be refused, write the statement, write what is given, send the difference. A
//! crash between any two of these is repaired by the next reconciliation, which does not need the statement again.

mod error;
mod find;
mod guard;
mod reconcile;
mod state;

use std::sync::Arc;

use crate::base::ambient::Ambient;
use crate::domain::ledger::{Explanation, Occasion, Source, Statement};
use crate::domain::policy::Policy;
use crate::domain::{FlexUser, Identity, SubjectId, Username};
use crate::store::{Directory, People};
use crate::users::{LastAdmin, Provisioning};

pub use error::LedgerError;

/// What one source says about one person.
#[derive(Debug, Clone)]
pub struct News {
    /// Who says it.
    pub source: Source,
    /// What the source calls the person, if it has a name of its own for people.
    pub subject: Option<SubjectId>,
    /// The identity under which tokens know the person, if the source knows it. It is bound to the Flex user, so that
    /// nobody else's token can claim that user.
    pub identity: Option<Identity>,
    /// The Flex username, if the source says it.
    pub username: Option<Username>,
    /// What is said.
    pub statement: Statement,
}

/// What became of a person.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was done.
    pub outcome: Outcome,
    /// The Flex user as it is now, if there is one and Flex was asked.
    pub user: Option<FlexUser>,
    /// Why the person is what they are; `None` where nothing was worked out.
    pub explanation: Option<Explanation>,
    /// Fields that could not be changed, because Flex shows a role that Flexgate cannot give.
    pub blocked: Vec<&'static str>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was said was known and in force. Twilio was not asked.
    Stale,
    /// There is no such Flex user, and none is to be made.
    NoUser,
    /// The user was as it should be.
    Unchanged,
    /// The user was made.
    Created,
    /// The user was changed or reactivated.
    Updated,
    /// The user was deactivated.
    Deactivated,
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
        }
    }
}

/// The ledger and the reconciler.
#[derive(Debug, Clone)]
pub struct Ledger {
    people: Arc<dyn People>,
    /// Holds the lock that serialises whoever takes an administrator away.
    locks: Arc<dyn Directory>,
    provisioning: Arc<Provisioning>,
    policy: Policy,
    last_admin: LastAdmin,
    ambient: Ambient,
}

impl Ledger {
    /// The ledger over these.
    #[must_use]
    pub fn new(
        people: Arc<dyn People>,
        locks: Arc<dyn Directory>,
        provisioning: Arc<Provisioning>,
        policy: Policy,
        last_admin: LastAdmin,
        ambient: Ambient,
    ) -> Self {
        Self { people, locks, provisioning, policy, last_admin, ambient }
    }

    fn occasion(&self) -> Occasion<'static> {
        Occasion::at(self.ambient.now())
    }
}
