//! The limits of each profile's sessions: how long sessions last, from which networks people may use them, and how many
//! a person may have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;

use flexgate::base::strict_json::{self, StrictJsonError};
use flexgate::domain::{ObservedRoles, ProfileName, SsoProfiles};
use flexgate::web::Networks;
use serde::Deserialize;
use time::Duration;

/// The longest session, in seconds.
pub const LONGEST: u32 = 7 * 86_400;
/// The shortest session, in seconds.
pub const SHORTEST: u32 = 300;
/// The shortest allowed idle limit, in seconds. An active page uses its session more often than this, even if its
/// requests are delayed.
pub const SHORTEST_IDLE: u32 = 600;

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// The maximum time from sign-in to the end of a session.
    pub absolute: Duration,
    /// The time without use after which the session ends.
    pub idle: Duration,
}

/// The limits of one profile's sessions.
#[derive(Debug, Clone)]
pub struct SessionPolicy {
    /// The lifetimes of a session.
    pub lifetimes: Lifetimes,
    /// Whether a new sign-in ends the person's sessions with this profile in other browsers.
    pub is_single: bool,
    /// The maximum duration of a session for people with certain roles. The role names are in lower case.
    of_role: BTreeMap<String, Duration>,
    /// The networks from which people may sign in and use sessions. `None` allows all.
    networks: Option<Networks>,
}

impl SessionPolicy {
    /// Returns the maximum duration of a session for a person with these roles.
    #[must_use]
    pub fn lasts(&self, roles: &ObservedRoles) -> Duration {
        let of_roles = roles.names().into_iter().filter_map(|role| self.of_role.get(&role.to_lowercase()).copied());
        of_roles.fold(self.lifetimes.absolute, Duration::min)
    }

    /// Whether people may sign in and use sessions from this IP address. An unknown address is allowed only if
    /// the profile allows all networks.
    #[must_use]
    pub fn allows(&self, client: Option<IpAddr>) -> bool {
        self.networks.as_ref().is_none_or(|networks| client.is_some_and(|client| networks.contain(client)))
    }
}

/// The limits of all profiles.
#[derive(Debug, Clone)]
pub struct SessionPolicies {
    common: SessionPolicy,
    of_profile: BTreeMap<ProfileName, SessionPolicy>,
}

impl SessionPolicies {
    /// Creates the policies. Every profile gets these lifetimes, except where `written` sets other limits.
    #[must_use]
    pub fn new(lifetimes: Lifetimes, written: WrittenPolicies) -> Self {
        let common = SessionPolicy { lifetimes, is_single: false, of_role: BTreeMap::new(), networks: None };
        let of_profile = written.0.into_iter().map(|(profile, written)| {
            let absolute = written.session_seconds.map_or(lifetimes.absolute, seconds);
            let idle = written.idle_seconds.map_or(lifetimes.idle, seconds);
            let policy = SessionPolicy {
                lifetimes: Lifetimes { absolute, idle },
                is_single: written.sessions_per_person.is_some(),
                of_role: written
                    .role_seconds
                    .into_iter()
                    .map(|(role, limit)| (role.to_lowercase(), seconds(limit)))
                    .collect(),
                networks: written.networks,
            };
            (profile, policy)
        });
        let of_profile = of_profile.collect();
        Self { common, of_profile }
    }

    /// Returns the limits of a profile's sessions.
    #[must_use]
    pub fn of(&self, profile: &ProfileName) -> &SessionPolicy {
        self.of_profile.get(profile).unwrap_or(&self.common)
    }
}

fn seconds(number: u32) -> Duration {
    Duration::seconds(number.into())
}

/// `FLEXGATE_SESSION_POLICIES`: for each profile, the limits that differ from the general ones.
#[derive(Debug, Clone, Default)]
pub struct WrittenPolicies(BTreeMap<ProfileName, Written>);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    session_seconds: Option<u32>,
    idle_seconds: Option<u32>,
    #[serde(default)]
    role_seconds: BTreeMap<String, u32>,
    sessions_per_person: Option<u32>,
    #[serde(default, deserialize_with = "networks")]
    networks: Option<Networks>,
}

fn networks<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<Networks>, D::Error> {
    let list = Vec::<String>::deserialize(reader)?;
    // Refuse an empty list, because it could mean that every network is allowed, or that none is.
    if list.iter().all(|item| item.trim().is_empty()) {
        return Err(serde::de::Error::custom("networks must not be empty"));
    }
    Networks::read(list.iter().map(String::as_str)).map(Some).map_err(serde::de::Error::custom)
}

impl WrittenPolicies {
    /// Returns the name of a profile that has limits here but does not exist in `profiles`.
    #[must_use]
    pub fn unknown_profile(&self, profiles: &SsoProfiles) -> Option<&ProfileName> {
        self.0.keys().find(|name| profiles.get(name.as_str()).is_none())
    }
}

impl FromStr for WrittenPolicies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let document = strict_json::parse(text.as_bytes()).map_err(|error| match error {
            StrictJsonError::Duplicate { .. } => "names something twice".to_owned(),
            _ => "must be a JSON object of profiles, like {\"default\": {\"sessions_per_person\": 1}}".to_owned(),
        })?;
        let policies: BTreeMap<String, Written> =
            serde_json::from_value(document).map_err(|error| format!("cannot be used: {error}"))?;
        let mut read = BTreeMap::new();
        for (name, policy) in policies {
            let profile: ProfileName = name.parse().map_err(|error| format!("names a profile that {error}"))?;
            let within = |what: &str, value: Option<u32>, least: u32| match value {
                Some(value) if !(least..=LONGEST).contains(&value) => {
                    Err(format!("{what} of {name} must be from {least} to {LONGEST}"))
                }
                _ => Ok(()),
            };
            within("session_seconds", policy.session_seconds, SHORTEST)?;
            within("idle_seconds", policy.idle_seconds, SHORTEST_IDLE)?;
            let mut roles = BTreeSet::new();
            for (role, limit) in &policy.role_seconds {
                if !roles.insert(role.to_lowercase()) {
                    return Err(format!("role_seconds of {name} names {role} twice"));
                }
                within(&format!("role_seconds.{role}"), Some(*limit), SHORTEST)?;
            }
            if policy.sessions_per_person.is_some_and(|number| number != 1) {
                return Err(format!("sessions_per_person of {name} must be 1; leave it out for no limit"));
            }
            read.insert(profile, policy);
        }
        Ok(Self(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: Lifetimes = Lifetimes { absolute: Duration::hours(12), idle: Duration::hours(2) };

    fn policies(text: &str) -> SessionPolicies {
        SessionPolicies::new(COMMON, text.parse().unwrap())
    }

    fn named(name: &str) -> ProfileName {
        name.parse().unwrap()
    }

    #[test]
    fn a_profile_without_a_policy_has_the_common_limits() {
        let policies = policies(r#"{"night": {"idle_seconds": 900, "sessions_per_person": 1}}"#);
        let (night, other) = (policies.of(&named("night")), policies.of(&named("default")));
        assert_eq!((night.lifetimes.idle, night.lifetimes.absolute), (Duration::minutes(15), Duration::hours(12)));
        assert!(night.is_single && !other.is_single);
        assert_eq!(other.lifetimes.idle, Duration::hours(2));
        assert!(other.allows(None));
    }

    #[test]
    fn the_shortest_shift_of_a_persons_roles_counts() {
        let policies =
            policies(r#"{"default": {"session_seconds": 36000, "role_seconds": {"admin": 3600, "wfo.x": 7200}}}"#);
        let policy = policies.of(&named("default"));
        for (roles, hours) in [(&["agent"][..], 10), (&["agent", "admin"], 1), (&["wfo.x", "agent"], 2)] {
            assert_eq!(policy.lasts(&roles.iter().collect()), Duration::hours(hours), "{roles:?}");
        }
    }

    #[test]
    fn an_unknown_address_is_in_no_network() {
        let policies = policies(r#"{"default": {"networks": ["203.0.113.0/24", "2001:db8::/32"]}}"#);
        let allows = |address: &str| policies.of(&named("default")).allows(address.parse().ok());
        assert!(allows("203.0.113.9") && allows("::ffff:203.0.113.9") && allows("2001:db8::1"));
        assert!(!allows("203.0.114.9") && !allows("") && !allows("2001:db9::1"));
    }

    #[test]
    fn a_policy_of_a_profile_that_does_not_exist_is_found() {
        let profiles: SsoProfiles = "default=JQ00000000000000000000000000000001".parse().unwrap();
        let unknown = |text: &str| {
            let policies: WrittenPolicies = text.parse().unwrap();
            policies.unknown_profile(&profiles).map(ToString::to_string)
        };
        assert_eq!(unknown(r#"{"default": {}}"#), None);
        assert_eq!(unknown(r#"{"default": {}, "night": {}}"#), Some("night".to_owned()));
    }

    #[test]
    fn a_profile_that_is_named_twice_is_the_stated_reason() {
        let refused = r#"{"default": {}, "default": {}}"#.parse::<WrittenPolicies>().unwrap_err();
        assert_eq!(refused, "names something twice");
    }

    #[test]
    fn policies_that_make_no_sense_are_refused() {
        for wrong in [
            "1",
            "[]",
            r#"{"default": {"idle_seconds": 599}}"#,
            r#"{"default": {"session_seconds": 299}}"#,
            r#"{"default": {"session_seconds": 604801}}"#,
            r#"{"default": {"role_seconds": {"agent": 10}}}"#,
            r#"{"default": {"sessions_per_person": 2}}"#,
            r#"{"default": {"role_seconds": {"admin": 3600, "Admin": 7200}}}"#,
            r#"{"default": {"sessions_per_person": 0}}"#,
            r#"{"default": {"networks": []}}"#,
            r#"{"default": {"networks": [""]}}"#,
            r#"{"default": {"networks": ["0.0.0.0/0"]}}"#,
            r#"{"default": {"networks": ["office"]}}"#,
            r#"{"default": {"network": ["203.0.113.0/24"]}}"#,
            r#"{"Default": {}}"#,
            r#"{"default": {}, "default": {}}"#,
        ] {
            assert!(wrong.parse::<WrittenPolicies>().is_err(), "{wrong}");
        }
    }
}
