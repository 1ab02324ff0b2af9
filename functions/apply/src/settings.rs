//! The function's settings.

use flexgate::base::settings::Reader;
use flexgate::platform::Common;
use flexgate::twilio::CredentialSettings;
use flexgate::users::PolicySettings;

use crate::graph::GraphSettings;

/// The function's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings common to every function.
    pub common: Common,
    /// The Twilio credential.
    pub credential: CredentialSettings,
    /// The policy: who may have which roles.
    pub policy: PolicySettings,
    /// `FLEXGATE_APPLY_TRIES` (default 50): after this many failed attempts, a message becomes a dead letter.
    pub tries: u32,
    /// How to look people up at Microsoft Graph. `None` turns the look-up off.
    pub graph: Option<GraphSettings>,
}

impl Settings {
    /// Reads the settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let (common, credential) = (Common::read(reader), CredentialSettings::read(reader));
        let (policy, tries, graph) = (PolicySettings::read(reader), tries(reader), GraphSettings::read(reader));
        Some(Self { common: common?, credential: credential?, policy: policy?, tries: tries?, graph: graph? })
    }
}

/// `FLEXGATE_APPLY_TRIES`.
pub fn tries(reader: &mut Reader) -> Option<u32> {
    match reader.or("FLEXGATE_APPLY_TRIES", 50)? {
        tries @ 1..=1000 => Some(tries),
        _ => reader.wrong("FLEXGATE_APPLY_TRIES", "must be from 1 to 1000"),
    }
}
