//! The settings for Twilio: the addresses of its services, and the name of the credential's secret.

use super::Endpoints;
use crate::base::settings::Reader;

/// Reads `TWILIO_REGION`, or `FLEXGATE_TWILIO_URL` for a simulator.
pub fn endpoints(reader: &mut Reader) -> Option<Endpoints> {
    let region = reader.optional("TWILIO_REGION", Endpoints::in_region);
    let address = reader.optional("FLEXGATE_TWILIO_URL", Endpoints::at);
    match (region?, address?) {
        (Some(_), Some(_)) => reader.wrong("FLEXGATE_TWILIO_URL", "cannot be set together with TWILIO_REGION"),
        (Some(endpoints), None) | (None, Some(endpoints)) => Some(endpoints),
        (None, None) => Some(Endpoints::default()),
    }
}

/// The name of the secret with the Twilio credential. The sign-in function does not have this setting.
#[derive(Debug, Clone)]
pub struct CredentialSettings {
    /// `TWILIO_SECRET_ID`.
    pub secret_id: String,
}

impl CredentialSettings {
    /// Reads this group of settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let hint = "the secret with accountSid and authToken (or apiKeySid and apiKeySecret)";
        Some(Self { secret_id: reader.required("TWILIO_SECRET_ID", hint)? })
    }
}
