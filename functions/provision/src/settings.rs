//! What the function is told.

use flexgate::base::settings::Reader;
use flexgate::platform::OwnerSettings;

use crate::scim::ScimSettings;

/// What the function is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What every function is told that acts for the account's owner.
    pub owner: OwnerSettings,
    /// How SCIM is served, if it is.
    pub scim: Option<ScimSettings>,
}

impl Settings {
    /// Reads the groups.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (owner, scim) = (OwnerSettings::read(reader), ScimSettings::read(reader));
        Some(Self { owner: owner?, scim: scim? })
    }
}
