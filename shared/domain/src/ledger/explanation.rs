//! Why a person is what they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::source::Source;

/// Why a person is what they are: for `GET /users/{sid}/explain`, `flexgate users explain` and the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The sources that say the person is active.
    pub active_by: BTreeSet<Source>,
    /// The sources that say the person is inactive. One of them is enough.
    pub inactive_by: BTreeSet<Source>,
    /// Every role that a source names, that Flex shows, or that Flexgate has taken back, each with the reason why the
    /// person has it or not.
    pub roles: BTreeMap<Box<str>, RoleReason>,
    /// Where each profile field comes from.
    pub fields: BTreeMap<&'static str, FieldReason>,
}

/// Why a person has a role, or does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum RoleReason {
    /// Has it: these sources say so.
    Stated {
        /// The sources.
        by: BTreeSet<Source>,
    },
    /// Has it: no source names a role that counts, and nothing was made by hand.
    Default,
    /// Has it: Flex shows it, and Flexgate never gave it.
    MadeByHand,
    /// Has it: Flex shows it, and Flexgate cannot give it. A full provisioning request would lose it.
    Unspellable,
    /// Does not have it: Flexgate gave it, and no source names it any more.
    TakenBack,
    /// Does not get it: the policy allows nobody to have it.
    Forbidden {
        /// The sources that name it.
        by: BTreeSet<Source>,
    },
    /// Does not get it: Flex has no such role.
    Unknown {
        /// The sources that name it.
        by: BTreeSet<Source>,
    },
    /// Does not get it: claims may add roles only while their bearer mints.
    ClaimsOnly {
        /// The issuers.
        by: BTreeSet<Source>,
    },
    /// Does not get it back: Flexgate cannot give it, and the person is being reactivated.
    NotRestored,
    /// Does not keep it: it belonged to the person who had the username before.
    PreviousOwner,
}

impl RoleReason {
    /// Whether the person has the role.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self, Self::Stated { .. } | Self::Default | Self::MadeByHand | Self::Unspellable)
    }
}

/// Where the value of a profile field comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum FieldReason {
    /// This source says so. It has the highest priority among the sources that say something.
    Stated {
        /// The source.
        by: Source,
    },
    /// No source says anything: it stays as Flex shows it.
    AsInFlex,
    /// No source says anything and Flex shows no valid value: the username is used.
    Username,
}
