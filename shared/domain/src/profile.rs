//! SSO profiles. A profile is an SSO connection in Twilio, with the name that it has in Flexgate's URLs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::sid::SsoProfileSid;

/// The name of an SSO profile: the `{profile}` in `/sso/{profile}/login`. It has 1 to 32 lower-case letters, digits
/// and hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(Box<str>);

/// The string is not a valid profile name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 32 lower-case letters, digits or hyphens")]
pub struct ProfileNameError;

impl ProfileName {
    /// Returns the name, as it appears in URLs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(text: &str) -> Result<Self, ProfileNameError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(ProfileNameError)
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One configured way to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsoProfile {
    /// The profile's name in URLs.
    pub name: ProfileName,
    /// Twilio's SID of the SSO connection.
    pub sid: SsoProfileSid,
}

/// All configured SSO profiles. If there is none, nobody can sign in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SsoProfiles(BTreeMap<ProfileName, SsoProfile>);

/// Why a string is not a valid list of profiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SsoProfilesError {
    /// An item does not have the form `name=JQ…`.
    #[error("must be a comma-separated list of name=JQ…, like default=JQ0123456789abcdef0123456789abcdef")]
    Item,
    /// Two items have the same name.
    #[error("names a profile twice")]
    Repeated,
}

impl SsoProfiles {
    /// Returns the profile with this name, if it is configured.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SsoProfile> {
        self.0.get(&name.parse().ok()?)
    }

    /// Returns all profiles, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &SsoProfile> {
        self.0.values()
    }
}

impl FromStr for SsoProfiles {
    type Err = SsoProfilesError;

    fn from_str(text: &str) -> Result<Self, SsoProfilesError> {
        let mut profiles = BTreeMap::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, sid) = item.split_once('=').ok_or(SsoProfilesError::Item)?;
            let name: ProfileName = name.trim().parse().map_err(|_| SsoProfilesError::Item)?;
            let sid = sid.trim().parse().map_err(|_| SsoProfilesError::Item)?;
            if profiles.insert(name.clone(), SsoProfile { name, sid }).is_some() {
                return Err(SsoProfilesError::Repeated);
            }
        }
        Ok(Self(profiles))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SID: &str = "JQ0123456789abcdef0123456789abcdef";

    proptest! {
        #[test]
        fn a_profile_name_is_safe_in_a_path(text in any::<String>()) {
            if let Ok(name) = text.parse::<ProfileName>() {
                prop_assert!(name.as_str().bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')));
            }
        }
    }

    #[test]
    fn a_profile_name_has_lower_case_letters_digits_and_hyphens() {
        for text in ["a", "partner-2", "7", "-", &"x".repeat(32)] {
            let name: ProfileName = text.parse().unwrap();
            assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
        }
        for text in ["", "Partner", "a_b", "a.b", &"x".repeat(33)] {
            assert_eq!(text.parse::<ProfileName>(), Err(ProfileNameError), "{text}");
        }
    }

    #[test]
    fn a_list_is_read_and_its_mistakes_are_named() {
        let profiles: SsoProfiles = format!("default={SID}, partner={SID}").parse().unwrap();
        assert_eq!(profiles.get("partner").unwrap().sid.as_str(), SID);
        let names: Vec<&str> = profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["default", "partner"]);
        assert!(profiles.get("../default").is_none());
        assert!("".parse::<SsoProfiles>().unwrap().get("default").is_none());
        assert_eq!("default".parse::<SsoProfiles>(), Err(SsoProfilesError::Item));
        assert_eq!(format!("a={SID},a={SID}").parse::<SsoProfiles>(), Err(SsoProfilesError::Repeated));
    }
}
