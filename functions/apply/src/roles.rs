//! Which roles an event gives: never more than the policy allows, never fewer by accident.

use flexgate::domain::policy::Policy;
use flexgate::domain::{FlexUser, Role, RoleSet};

/// The roles a user should have, and the names that do not count.
pub(super) struct Granted {
    pub(super) roles: RoleSet,
    /// Names the event asks for that no role has, or that the policy lets nobody have.
    pub(super) dropped: Vec<String>,
}

/// Decides. An event that names no role that counts leaves an active user's roles as they are; one that
/// does replaces those Flexgate may give, and leaves alone those it may not (an `admin` made by hand
/// stays one). Somebody new or back again starts from what the policy allows.
pub(super) fn granted(policy: &Policy, asked: Option<&[String]>, existing: Option<&FlexUser>) -> Granted {
    let mut counted = RoleSet::new();
    let mut dropped = Vec::new();
    for name in asked.unwrap_or_default() {
        match name.parse::<Role>() {
            Ok(role) if policy.allowed_roles.contains(&role) => drop(counted.insert(role)),
            _ => dropped.push(readable(name)),
        }
    }
    let nothing = RoleSet::new();
    let active = existing.filter(|user| !user.is_deactivated());
    let has = existing.and_then(|user| user.roles.as_ref()).map_or(&nothing, |roles| roles.known());
    let may_give = |roles: &RoleSet| -> RoleSet { roles.intersection(&policy.allowed_roles).copied().collect() };
    let roles = match (active, counted.is_empty()) {
        (Some(_), true) => has.clone(),
        (Some(_), false) => counted.into_iter().chain(has.difference(&policy.allowed_roles).copied()).collect(),
        (None, true) => Some(may_give(has)).filter(|kept| !kept.is_empty()).unwrap_or(may_give(&policy.default_roles)),
        (None, false) => counted,
    };
    Granted { roles, dropped }
}

/// A role's name, for the audit: as much of it as is safe to write down.
fn readable(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flexgate::domain::policy::JustInTime;
    use flexgate::domain::{ObservedRoles, TokenTtl};

    fn policy() -> Policy {
        Policy {
            allowed_roles: [Role::Agent, Role::Supervisor].into(),
            default_roles: [Role::Agent].into(),
            just_in_time: JustInTime::Off,
            max_ttl: TokenTtl::DEFAULT,
        }
    }

    fn user(roles: &[&str], deactivated: bool) -> FlexUser {
        FlexUser {
            flex_user_sid: format!("FU{}", "0".repeat(32)).parse().unwrap(),
            username: "ada".parse().unwrap(),
            email: None,
            full_name: None,
            roles: Some(roles.iter().collect::<ObservedRoles>()),
            locale: None,
            deactivated: Some(deactivated),
            worker_sid: None,
            created_date: None,
            updated_date: None,
            version: None,
        }
    }

    fn decide(asked: Option<&[&str]>, existing: Option<&FlexUser>) -> (Vec<&'static str>, Vec<String>) {
        let asked: Option<Vec<String>> = asked.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let granted = granted(&policy(), asked.as_deref(), existing);
        (granted.roles.into_iter().map(Role::as_str).collect(), granted.dropped)
    }

    #[test]
    fn w13_admin_and_unknown_roles_are_dropped_and_named() {
        let (roles, dropped) = decide(Some(&["admin", "agent", "own\u{7}er"]), None);
        assert_eq!(roles, ["agent"]);
        assert_eq!(dropped, ["admin", "own?er"]);
    }

    #[test]
    fn an_event_without_a_role_that_counts_demotes_nobody() {
        let supervisor = user(&["supervisor"], false);
        assert_eq!(decide(None, Some(&supervisor)).0, ["supervisor"]);
        assert_eq!(decide(Some(&[]), Some(&supervisor)).0, ["supervisor"]);
        assert_eq!(decide(Some(&["admin"]), Some(&supervisor)).0, ["supervisor"]);
        assert_eq!(decide(Some(&["agent"]), Some(&supervisor)).0, ["agent"]);
    }

    #[test]
    fn an_admin_made_by_hand_stays_one_until_deactivated() {
        assert_eq!(decide(Some(&["agent"]), Some(&user(&["admin"], false))).0, ["agent", "admin"]);
        assert_eq!(decide(None, Some(&user(&["admin", "supervisor"], true))).0, ["supervisor"]);
        assert_eq!(decide(None, Some(&user(&["admin"], true))).0, ["agent"]);
    }

    #[test]
    fn somebody_new_has_the_default_roles() {
        assert_eq!(decide(None, None).0, ["agent"]);
    }
}
