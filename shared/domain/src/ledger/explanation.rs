//! Explains why a person is active or not and why they have each role and profile field.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::source::Source;

/// Why a person is active or not, and why they have each role and profile field. Shown by `GET /users/{sid}/explain`,
/// by `flexgate users explain` and in the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The sources that say the person is active.
    pub active_by: BTreeSet<Source>,
    /// The sources that say the person is inactive. One such source is enough to deactivate the person.
    pub inactive_by: BTreeSet<Source>,
    /// Each role with the reason why the person has it or not. Includes every role that a source names, that Flex
    /// shows, or that Flexgate has taken back.
    pub roles: BTreeMap<Box<str>, RoleReason>,
    /// Where each profile field comes from.
    pub fields: BTreeMap<&'static str, FieldReason>,
}

/// Why a person has a role, or does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum RoleReason {
    /// The person has the role because these sources name it.
    Stated {
        /// The sources.
        by: BTreeSet<Source>,
    },
    /// The person has this default role. Default roles apply only if no source names a role that counts. They also do
    /// not apply if the person keeps a role in Flex that Flexgate did not give.
    Default,
    /// The person has the role in Flex, and Flexgate never gave it. Somebody set it by hand.
    MadeByHand,
    /// The person has the role in Flex, and Flexgate cannot give it. So Flexgate sends no provisioning request for the
    /// person, because that would remove the role.
    Unspellable,
    /// The person loses the role: Flexgate gave it, but no source names it any more.
    TakenBack,
    /// The person does not get the role, because the policy does not allow it for anybody.
    Forbidden {
        /// The sources that name it.
        by: BTreeSet<Source>,
    },
    /// The person does not get the role, because it is not one of the roles that Flexgate can give.
    Unknown {
        /// The sources that name it.
        by: BTreeSet<Source>,
    },
    /// The person does not get the role. Only claims name it, and claims may add a role only while the person mints.
    ClaimsOnly {
        /// The issuers.
        by: BTreeSet<Source>,
    },
    /// Flexgate is reactivating the person. The person had this role before but does not get it back, because Flexgate
    /// cannot give it.
    NotRestored,
    /// The person does not keep the role, because it belonged to the previous owner of the username.
    PreviousOwner,
}

impl RoleReason {
    /// Whether the person has the role.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self, Self::Stated { .. } | Self::Default | Self::MadeByHand | Self::Unspellable)
    }
}

/// Where the value of a profile field, such as the e-mail address, comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum FieldReason {
    /// This source states the value. If several sources state a value, this source has the highest priority among them.
    Stated {
        /// The source.
        by: Source,
    },
    /// No source states a value, so the value in Flex stays.
    AsInFlex,
    /// No source states a value and Flex shows no valid one, so Flexgate uses the username.
    Username,
}
