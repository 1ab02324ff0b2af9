//! The parts of a valid token that Flexgate cannot use. They explain why a person has no username or lacks a role.

use std::collections::BTreeSet;
use std::fmt;

/// The maximum number of role names to record. It keeps the record short, because a person may be in hundreds of
/// groups.
const MOST_ROLES: usize = 8;

/// The maximum length of a recorded role name, in characters.
const MAX_ROLE: usize = 64;

/// The names of claims and roles that Flexgate could not use. Contains no other values of the token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unused {
    claims: Vec<(Box<str>, Why)>,
    roles: BTreeSet<Box<str>>,
    more_roles: usize,
}

/// Why Flexgate could not use a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The token does not contain the claim.
    Missing,
    /// The issuer has not verified the e-mail address.
    Unverified,
    /// The claim is not a string, or does not have the required form.
    Unusable,
}

impl Unused {
    /// Records an unusable claim.
    pub fn claim(&mut self, name: &str, why: Why) {
        if !self.claims.iter().any(|(known, _)| **known == *name) {
            self.claims.push((name.into(), why));
        }
    }

    /// Records unknown role names: at most `MOST_ROLES`, each shortened to `MAX_ROLE` characters.
    pub fn roles<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let names: BTreeSet<&str> = names.into_iter().map(str::trim).filter(|name| !name.is_empty()).collect();
        self.more_roles = names.len().saturating_sub(MOST_ROLES);
        self.roles = names.into_iter().take(MOST_ROLES).map(readable).collect();
    }

    /// The unknown role names.
    pub fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|name| &**name)
    }

    /// Describes the unknown role names, or returns `None` if there are none.
    #[must_use]
    pub fn dropped_roles(&self) -> Option<String> {
        let names: Vec<&str> = self.role_names().collect();
        let more = if self.more_roles == 0 { String::new() } else { format!(" and {} more", self.more_roles) };
        (!names.is_empty()).then(|| format!("these roles mean nothing here: {}{more}", names.join(", ")))
    }

    /// Whether Flexgate could use every claim and role in the token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.roles.is_empty()
    }
}

/// Makes a name safe for the log: shortens it, omits everything after an `@`, and replaces unusual characters.
fn readable(name: &str) -> Box<str> {
    let safe = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let end = |rest: &str| if rest.len() < name.len() { "@..." } else { "" };
    let local = name.split('@').next().unwrap_or_default();
    local.chars().take(MAX_ROLE).map(safe).chain(end(local).chars()).collect::<String>().into()
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = self.claims.iter().map(|(claim, why)| match why {
            Why::Missing => format!("the claim {claim} is missing"),
            Why::Unverified => format!("the claim {claim} does not say that the e-mail address is verified"),
            Why::Unusable => format!("the claim {claim} cannot be used"),
        });
        f.write_str(&claims.chain(self.dropped_roles()).collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_is_named_without_values() {
        let mut unused = Unused::default();
        assert!(unused.is_empty());
        unused.claim("preferred_username", Why::Missing);
        assert!(!unused.is_empty());
        unused.claim("preferred_username", Why::Unusable);
        unused.claim("email_verified", Why::Unverified);
        unused.roles(["lead\n", "Lead", " ", "flex@example.com"]);
        assert_eq!(
            unused.to_string(),
            "the claim preferred_username is missing; the claim email_verified does not say that the e-mail address \
             is verified; these roles mean nothing here: Lead, flex@..., lead"
        );
    }

    #[test]
    fn a_role_that_means_nothing_is_reported_alone() {
        let mut unused = Unused::default();
        unused.roles(["Team Lead"]);
        assert!(!unused.is_empty());
        assert_eq!(unused.to_string(), "these roles mean nothing here: Team Lead");
    }

    #[test]
    fn of_many_roles_a_few_are_named() {
        let mut unused = Unused::default();
        let names: Vec<String> = (10..30).map(|n| format!("{n}{}\u{202e}", "x".repeat(80))).collect();
        unused.roles(names.iter().map(String::as_str));
        assert_eq!(unused.role_names().count(), MOST_ROLES);
        assert!(unused.role_names().all(|name| name.chars().count() == MAX_ROLE && name.is_ascii()));
        assert!(unused.to_string().ends_with("and 12 more"));
    }
}
