//! Flex roles: those that Flexgate can give, and those that Flex reports for a user.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A role that Flexgate can give to a Flex user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Role {
    /// An agent, who serves customers.
    Agent,
    /// A supervisor, who watches and coaches agents.
    Supervisor,
    /// An administrator, who configures Flex. Flexgate gives this role only if the operator lists it in the allowed
    /// roles.
    Admin,
}

/// The string names no role that Flexgate can give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be agent, supervisor or admin")]
pub struct RoleError;

impl Role {
    /// Returns the name that Twilio uses for the role.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
        }
    }
}

impl Role {
    /// Reads the name of a role as identity providers write it: in any case, possibly with white space around it.
    #[must_use]
    pub fn in_any_case(text: &str) -> Option<Self> {
        text.trim().to_lowercase().parse().ok()
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        match text {
            "agent" => Ok(Self::Agent),
            "supervisor" => Ok(Self::Supervisor),
            "admin" => Ok(Self::Admin),
            _ => Err(RoleError),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = RoleError;

    fn try_from(text: String) -> Result<Self, RoleError> {
        text.parse()
    }
}

impl From<Role> for &'static str {
    fn from(role: Role) -> Self {
        role.as_str()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of roles that Flexgate can give.
pub type RoleSet = BTreeSet<Role>;

/// Returns the names that Twilio uses for these roles, separated by commas.
#[must_use]
pub fn role_names(roles: &RoleSet) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

/// Why a JSON value is not a list of roles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a list of at least one of agent, supervisor and admin")]
pub struct RoleListError;

/// Parses the roles in a request body: a JSON list with at least one role.
pub fn role_list(value: &serde_json::Value) -> Result<RoleSet, RoleListError> {
    let names = value.as_array().filter(|names| !names.is_empty()).ok_or(RoleListError)?;
    names.iter().map(|name| name.as_str().and_then(|name| name.parse().ok()).ok_or(RoleListError)).collect()
}

/// The roles that Twilio reports for a user or a token. Some of them, such as `wfo.full_access`, are roles that
/// Flexgate cannot give.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedRoles {
    known: RoleSet,
    other: BTreeSet<String>,
}

impl ObservedRoles {
    /// Returns the roles in this set that Flexgate can give.
    #[must_use]
    pub fn known(&self) -> &RoleSet {
        &self.known
    }

    /// Returns the names of the roles in this set that Flexgate cannot give.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.other.iter().map(String::as_str)
    }

    /// Whether this set contains a role that is not in `granted`.
    #[must_use]
    pub fn exceed(&self, granted: &RoleSet) -> bool {
        !self.other.is_empty() || !self.known.is_subset(granted)
    }

    /// Whether this set contains a role that is not in `other`.
    #[must_use]
    pub fn exceed_observed(&self, other: &Self) -> bool {
        !(self.known.is_subset(&other.known) && self.other.is_subset(&other.other))
    }

    /// Returns the names that Twilio uses for these roles: first the roles that Flexgate can give, then the others.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.known.iter().map(|role| role.as_str()).chain(self.other.iter().map(String::as_str)).collect()
    }
}

impl<S: AsRef<str>> FromIterator<S> for ObservedRoles {
    fn from_iter<I: IntoIterator<Item = S>>(roles: I) -> Self {
        let mut observed = Self::default();
        for role in roles {
            match role.as_ref().parse() {
                Ok(known) => drop(observed.known.insert(known)),
                Err(RoleError) => drop(observed.other.insert(role.as_ref().to_owned())),
            }
        }
        observed
    }
}

impl Serialize for ObservedRoles {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for ObservedRoles {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<String>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn only_three_words_are_roles(text in any::<String>()) {
            let known = ["agent", "supervisor", "admin"].contains(&text.as_str());
            prop_assert_eq!(text.parse::<Role>().is_ok(), known);
        }

        #[test]
        fn an_unknown_role_always_exceeds(name in "[a-z.]{1,12}") {
            prop_assume!(name.parse::<Role>().is_err());
            let everything: RoleSet = [Role::Agent, Role::Supervisor, Role::Admin].into();
            prop_assert!(ObservedRoles::from_iter([name]).exceed(&everything));
        }
    }

    #[test]
    fn a_role_is_written_as_twilio_writes_it_and_read_in_any_case_where_people_write_it() {
        assert_eq!(Role::Supervisor.to_string(), "supervisor");
        assert_eq!(serde_json::to_value([Role::Agent, Role::Admin]).unwrap(), json!(["agent", "admin"]));
        assert_eq!(serde_json::from_value::<RoleSet>(json!(["agent"])).unwrap(), [Role::Agent].into());
        assert!(serde_json::from_value::<RoleSet>(json!(["Agent"])).is_err());
        assert_eq!(Role::in_any_case(" SuperVisor\n"), Some(Role::Supervisor));
        assert_eq!(Role::in_any_case("lead"), None);
    }

    #[test]
    fn a_list_of_roles_names_at_least_one_and_only_known_ones() {
        assert_eq!(role_list(&json!(["agent", "admin"])), Ok([Role::Agent, Role::Admin].into()));
        for wrong in [json!([]), json!(["agent", "lead"]), json!(["agent", 1]), json!("agent"), json!(null)] {
            assert_eq!(role_list(&wrong), Err(RoleListError), "{wrong}");
        }
    }

    #[test]
    fn observed_roles_are_stored_and_read_back() {
        let roles = ObservedRoles::from_iter(["wfo.full_access", "agent"]);
        let text = serde_json::to_string(&roles).unwrap();
        assert_eq!(text, r#"["agent","wfo.full_access"]"#);
        assert_eq!(serde_json::from_str::<ObservedRoles>(&text).unwrap(), roles);
        assert_eq!(roles.unknown().collect::<Vec<_>>(), ["wfo.full_access"]);
    }

    #[test]
    fn a_role_more_than_observed_before_exceeds() {
        let before = ObservedRoles::from_iter(["agent", "wfo.full_access"]);
        for (now, exceeds) in [
            (&["agent", "wfo.full_access"][..], false),
            (&["agent"], false),
            (&["wfo.full_access"], false),
            (&["supervisor"], true),
            (&["agent", "wfo.admin"], true),
        ] {
            assert_eq!(ObservedRoles::from_iter(now).exceed_observed(&before), exceeds, "{now:?}");
        }
    }

    #[test]
    fn fewer_roles_than_granted_do_not_exceed() {
        let granted: RoleSet = [Role::Agent, Role::Supervisor].into();
        assert!(!ObservedRoles::from_iter(["agent"]).exceed(&granted));
        assert!(ObservedRoles::from_iter(["agent", "admin"]).exceed(&granted));
    }
}
