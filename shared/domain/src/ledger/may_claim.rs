//! Decides whether an issuer may claim an unbound Flex user: a user to whom no identity is bound yet.
//!
//! At a person's first mint, Flexgate binds the person's identity to the Flex user with the token's username. The
//! issuer thereby claims that user. Without a limit, each trusted issuer could claim the users of all other issuers.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::person::Person;
use super::source::{Source, SourceError};

/// The unbound Flex users that an issuer may claim. The default is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MayClaim {
    /// All unbound users.
    Everybody,
    /// Only users whose origins ([`Claimable`]) are all in this list. The claims in the issuer's own tokens are always
    /// an allowed origin.
    Only(BTreeSet<Claimable>),
}

/// The origin of a Flex user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimable {
    /// A user in Flex about whom no source has made a statement.
    Flex,
    /// A user about whom this source has made a statement. A statement of a SCIM group counts as a statement of
    /// [`Source::Scim`].
    Of(Source),
}

impl Default for MayClaim {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl MayClaim {
    /// Checks whether an issuer may claim the user. `own` is the source of the claims in this issuer's tokens. `person`
    /// is the user's entry in the ledger, and `in_flex` is true if Flex has the user. If the settings do not allow the
    /// issuer to claim the user, the error contains the first of the user's origins that is not allowed.
    ///
    /// A source that has withdrawn its statement does not count as an origin.
    pub fn check(&self, own: &Source, person: Option<&Person>, in_flex: bool) -> Result<(), Claimable> {
        let Self::Only(allowed) = self else { return Ok(()) };
        let statements = person.into_iter().flat_map(|person| &person.statements);
        let speaking: Vec<&Source> =
            statements.filter(|(_, said)| !said.is_silent()).map(|(source, _)| source).collect();
        let others = speaking.iter().filter(|source| **source != own).map(|source| Claimable::of(source));
        if let Some(refused) = others.into_iter().find(|whose| !allowed.contains(whose)) {
            return Err(refused);
        }
        if speaking.is_empty() && in_flex && !allowed.contains(&Claimable::Flex) {
            return Err(Claimable::Flex);
        }
        Ok(())
    }
}

impl Claimable {
    fn of(source: &Source) -> Self {
        match source {
            Source::ScimGroup(_) => Self::Of(Source::Scim),
            source => Self::Of(source.clone()),
        }
    }
}

impl FromStr for Claimable {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text.parse() {
            _ if text == "flex" => Ok(Self::Flex),
            Ok(Source::ScimGroup(_)) | Err(SourceError) => Err(SourceError),
            Ok(source) => Ok(Self::Of(source)),
        }
    }
}

impl fmt::Display for Claimable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            Self::Of(source) => source.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::EventId;
    use crate::ledger::{PersonId, Said, Statement};

    fn person(sources: &[(&str, bool)]) -> Person {
        let mut person = Person::new(PersonId::of([0; 16]), "ada".parse().unwrap());
        let (at, cause) = (OffsetDateTime::UNIX_EPOCH, EventId::from(1));
        for (source, speaks) in sources {
            let active = speaks.then(|| Said::access(at, &cause, true));
            let statement = Statement { active, ..Statement::in_full(at, &cause) };
            person.statements.insert(source.parse().unwrap(), statement);
        }
        person
    }

    #[test]
    fn an_issuer_claims_only_whom_it_may() {
        let own: Source = "claims:https://idp.example".parse().unwrap();
        let only = |names: &[&str]| MayClaim::Only(names.iter().map(|name| name.parse().unwrap()).collect());
        let refused = |may: &MayClaim, sources: &[(&str, bool)]| {
            may.check(&own, Some(&person(sources)), true).err().map(|whose| whose.to_string())
        };
        let nobody = MayClaim::default();
        assert_eq!(refused(&nobody, &[]).as_deref(), Some("flex"));
        assert_eq!(refused(&nobody, &[("scim", false)]).as_deref(), Some("flex"));
        assert_eq!(refused(&nobody, &[("scim", true)]).as_deref(), Some("scim"));
        assert_eq!(refused(&nobody, &[("scim-group:g", true)]).as_deref(), Some("scim"));
        assert_eq!(refused(&nobody, &[("claims:https://idp.example", true)]), None);
        let other = refused(&nobody, &[("claims:https://idp.example", true), ("claims:https://other.example", true)]);
        assert_eq!(other.as_deref(), Some("claims:https://other.example"));
        assert_eq!(nobody.check(&own, None, true), Err(Claimable::Flex));
        assert_eq!(nobody.check(&own, None, false), Ok(()), "a newcomer");

        let scim = only(&["scim"]);
        assert_eq!(refused(&scim, &[("scim", true), ("scim-group:g", true)]), None);
        assert_eq!(refused(&scim, &[("scim", true), ("webhook:okta", true)]).as_deref(), Some("webhook:okta"));
        assert_eq!(refused(&scim, &[]).as_deref(), Some("flex"));
        assert_eq!(refused(&only(&["flex"]), &[("api", false)]), None);
        assert_eq!(refused(&only(&["flex"]), &[("api", true)]).as_deref(), Some("api"));
        assert_eq!(refused(&MayClaim::Everybody, &[("scim", true), ("operator", true)]), None);
    }

    #[test]
    fn whose_users_is_read_as_it_was_written() {
        for text in ["flex", "scim", "api", "operator", "webhook:okta", "claims:https://idp.example/"] {
            assert_eq!(text.parse::<Claimable>().unwrap().to_string(), text);
        }
        for text in ["", "*", "scim-group:g", "webhook:", "Flex"] {
            assert_eq!(text.parse::<Claimable>(), Err(SourceError), "{text}");
        }
    }
}
