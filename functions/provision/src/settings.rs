//! The function's settings.

use flexgate::base::settings::Reader;
use flexgate::platform::OwnerSettings;

use crate::scim::ScimSettings;

/// The function's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings that the functions `mint` and `provision` have in common.
    pub owner: OwnerSettings,
    /// The SCIM settings, if SCIM is served.
    pub scim: Option<ScimSettings>,
}

impl Settings {
    /// Reads all groups of settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (owner, scim) = (OwnerSettings::read(reader), ScimSettings::read(reader));
        Some(Self { owner: owner?, scim: scim? })
    }
}
