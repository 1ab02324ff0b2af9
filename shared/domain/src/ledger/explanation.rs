//! Explains why a person is active, and why they have each role and profile field.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::source::Source;

/// Why a person is active or not, and why they have each role and profile field. `GET /users/{sid}/explain`,
/// `flexgate users explain` and the audit log show this explanation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The sources that say "active".
    pub active_by: BTreeSet<Source>,
    /// The sources that say "inactive". One such source is enough to deactivate the person.
    pub inactive_by: BTreeSet<Source>,
    /// For each role, why the person has it or does not have it. Contains every role that a source names, that Flex
    /// shows, or that Flexgate has taken back.
    pub roles: BTreeMap<Box<str>, RoleReason>,
    /// Where each profile field comes from.
    pub fields: BTreeMap<&'static str, FieldReason>,
}

/// Why a person has a role, or does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum RoleReason {
    /// The person has the role because sources name it.
    Stated {
        /// The sources that name the role.
        by: BTreeSet<Source>,
    },
    /// The person has this default role. A person gets the default roles if no source names an allowed role, and if
    /// Flex shows no role that was set by hand and no role that Flexgate cannot give.
    Default,
    /// The person has the role in Flex, and Flexgate never gave it.
    MadeByHand,
    /// The person has a role in Flex that Flexgate cannot give. Provisioning the person at Twilio would
    /// remove the role, so Flexgate does not do it.
    Unspellable,
    /// The person loses the role. Flexgate gave it, and no source names it now.
    TakenBack,
    /// The person does not get the role, because the policy forbids it.
    Forbidden {
        /// The sources that name the role. Empty for a role that the user had in Flex before the reactivation.
        by: BTreeSet<Source>,
    },
    /// The person does not get the role, because Flexgate cannot give roles with this name.
    Unknown {
        /// The sources that name the role.
        by: BTreeSet<Source>,
    },
    /// The person does not get the role now. Only the claims of a token name the role, and claims add a role only
    /// during a mint.
    ClaimsOnly {
        /// The issuers whose claims name the role.
        by: BTreeSet<Source>,
    },
    /// The person had this role before the deactivation. The reactivated person does not get it back, because
    /// Flexgate cannot give it.
    NotRestored,
    /// The person does not keep the role, because it belongs to the previous owner of the username.
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
    /// The value comes from the source with the highest priority among those that state one.
    Stated {
        /// The source.
        by: Source,
    },
    /// No source states a value, so the value in Flex stays.
    AsInFlex,
    /// No source states a value, and Flex has no valid value, so Flexgate uses the username.
    Username,
}
