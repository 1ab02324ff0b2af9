//! Reads a person's profile from a payload. Each kind of source has its own JSON pointers, which the configuration can
//! override.

use std::collections::BTreeMap;

use flexgate::domain::{FullName, NameError, PersonProfile, Role};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::settings::{ProfileField, SourceSettings};

/// The JSON pointers to each field, for one kind of source. Flexgate uses the first pointer that leads to a value.
pub(crate) type ProfileFields = &'static [(ProfileField, &'static [&'static str])];

/// The most roles read from one payload.
const MAX_ROLES: usize = 32;

/// The JSON pointers to each field of a source's payload, and the source's names for Flex's roles.
#[derive(Debug)]
pub(crate) struct Mapping {
    places: BTreeMap<ProfileField, Vec<String>>,
    role_map: BTreeMap<String, Role>,
}

impl Mapping {
    pub(crate) fn new(places: ProfileFields, settings: &SourceSettings) -> Self {
        let own = places.iter().map(|(place, pointers)| (*place, pointers.iter().map(|&p| p.to_owned()).collect()));
        let mut places: BTreeMap<ProfileField, Vec<String>> = own.collect();
        places.extend(settings.map.iter().map(|(place, pointer)| (*place, vec![pointer.clone()])));
        Self { places, role_map: settings.role_map.clone() }
    }

    /// Returns the value of the field. Null counts as absent.
    pub(crate) fn find<'v>(&self, place: ProfileField, document: &'v Value) -> Option<&'v Value> {
        let pointers = self.places.get(&place)?;
        pointers.iter().find_map(|pointer| document.pointer(pointer).filter(|value| !value.is_null()))
    }

    /// Returns the field as a string. A number becomes its decimal digits.
    pub(crate) fn text(&self, place: ProfileField, document: &Value) -> Option<String> {
        match self.find(place, document)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Returns the field as a time.
    pub(crate) fn instant(&self, place: ProfileField, document: &Value) -> Option<OffsetDateTime> {
        instant(self.find(place, document)?)
    }

    /// Returns the profile. An unusable username is an error. Any other unusable field is ignored.
    pub(crate) fn profile(&self, document: &Value) -> Result<PersonProfile, NameError> {
        let email = self.text(ProfileField::Email, document).and_then(|text| text.parse().ok());
        // A source without a JSON pointer for `EmailVerified` is a directory. A directory controls its people's e-mail
        // addresses, so these addresses count as verified.
        let directory = !self.places.contains_key(&ProfileField::EmailVerified);
        let verified = directory || self.find(ProfileField::EmailVerified, document) == Some(&Value::Bool(true));
        self.profile_with(document, email, verified)
    }

    /// Returns the profile, with an e-mail address that the caller has already read. If the payload has no username, a
    /// verified address becomes the username. An unverified address does not, because a person could impersonate
    /// another user by editing their own address (CVE-2023-3128).
    pub(crate) fn profile_with(
        &self,
        document: &Value,
        email: Option<flexgate::domain::Email>,
        verified: bool,
    ) -> Result<PersonProfile, NameError> {
        let username = match self.text(ProfileField::Username, document) {
            Some(text) => Some(text.trim().parse()?),
            None => email.as_ref().filter(|_| verified).map(|email| email.as_str().parse()).transpose()?,
        };
        let [given_name, family_name] =
            [ProfileField::GivenName, ProfileField::FamilyName].map(|place| self.name(place, document));
        // Join the given name and the family name only if the payload contains both.
        let whole = given_name.as_ref().zip(family_name.as_ref());
        let joined = whole.and_then(|(given, family)| FullName::joined(Some(given), Some(family)));
        Ok(PersonProfile {
            username,
            email,
            full_name: self.name(ProfileField::FullName, document).or(joined),
            given_name,
            family_name,
            unverified_roles: self.roles(document),
        })
    }

    fn name(&self, place: ProfileField, document: &Value) -> Option<FullName> {
        self.text(place, document)?.trim().parse().ok()
    }

    fn roles(&self, document: &Value) -> Option<Vec<String>> {
        let names: Vec<&str> = match self.find(ProfileField::Roles, document)? {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().take(MAX_ROLES).filter_map(role_name).collect(),
            _ => return None,
        };
        Some(self.renamed(names))
    }

    /// Replaces a source's role names with Flex's names. Names without an entry in the configuration stay unchanged.
    pub(crate) fn renamed<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
        let renamed = |name: &str| self.role_map.get(name).map_or(name, |role| role.as_str()).to_owned();
        names.into_iter().take(MAX_ROLES).map(renamed).collect()
    }
}

/// Returns the name of a role: a string, or the `slug` of an object (WorkOS).
fn role_name(role: &Value) -> Option<&str> {
    role.as_str().or_else(|| role["slug"].as_str())
}

/// Reads a time: RFC 3339, or seconds or milliseconds since 1970. Returns `None` if the time is not in the years 2000
/// to 2199.
pub(crate) fn instant(value: &Value) -> Option<OffsetDateTime> {
    let at = match value {
        Value::String(text) => OffsetDateTime::parse(text, &Rfc3339).ok()?,
        Value::Number(number) => {
            let count = number.as_i64()?;
            // A number of at least this size is in milliseconds. In seconds, it would mean the year 5138 or later.
            let millis = if count < 100_000_000_000 { count.checked_mul(1000)? } else { count };
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?
        }
        _ => return None,
    };
    (2000..2200).contains(&at.year()).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_read_in_every_form_payloads_have() {
        let at = datetime!(2026-03-01 12:00 UTC);
        for value in [
            json!("2026-03-01T12:00:00Z"),
            json!("2026-03-01T13:00:00+01:00"),
            json!(1_772_366_400),
            json!(1_772_366_400_000_i64),
        ] {
            assert_eq!(instant(&value), Some(at), "{value}");
        }
        for value in [
            json!("yesterday"),
            json!(0),
            json!(-1),
            json!(1e300),
            json!(i64::MAX),
            json!("9999-01-01T00:00:00Z"),
            json!({}),
            json!(null),
        ] {
            assert_eq!(instant(&value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_time_makes_it_panic(number in any::<i64>(), float in any::<f64>(), text in any::<String>()) {
            let _ = (instant(&json!(number)), instant(&json!(float)), instant(&json!(text)));
        }
    }
}
