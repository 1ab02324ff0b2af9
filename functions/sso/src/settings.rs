//! The sign-in settings.

use flexgate::base::settings::Reader;
use flexgate::domain::SsoProfiles;
use flexgate::platform::Common;
use time::Duration;

use crate::signin::{Destinations, Lifetimes};

/// This function's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings common to every function.
    pub common: Common,
    /// Sign-in.
    pub sign_in: SignInSettings,
}

impl Settings {
    /// Reads the settings.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let common = Common::read(reader);
        let sign_in = SignInSettings::read(reader, common.as_ref());
        Some(Self { common: common?, sign_in: sign_in? })
    }
}

/// Sign-in through SSO.
#[derive(Debug, Clone)]
pub struct SignInSettings {
    /// `FLEXGATE_SSO_PROFILES`: `default=JQ…`, comma-separated.
    pub profiles: SsoProfiles,
    /// Where browsers may go after sign-in: `FLEXGATE_PUBLIC_URL`, `FLEXGATE_ALLOWED_ORIGINS`, and by default
    /// `FLEXGATE_DEFAULT_RETURN_TO`.
    pub destinations: Destinations,
    /// `COOKIE_KEYS_SECRET_ID`.
    pub cookie_keys_secret_id: String,
    /// How long sessions last: `FLEXGATE_SESSION_SECONDS` (12 hours by default) and `FLEXGATE_SESSION_IDLE_SECONDS` (2
    /// hours by default).
    pub lifetimes: Lifetimes,
}

impl SignInSettings {
    /// Reads the group. It depends on the common settings, so it cannot be read if they are wrong.
    pub fn read(reader: &mut Reader, common: Option<&Common>) -> Option<Self> {
        let destinations = common.map(|common| Destinations::new(&common.public_url, &common.allowed_origins));
        let destinations = destinations.and_then(|destinations| {
            let default = reader.optional("FLEXGATE_DEFAULT_RETURN_TO", |text| destinations.parse(text))?;
            Some(match default {
                Some(default) => destinations.with_default(default),
                None => destinations,
            })
        });
        let profiles = reader.required("FLEXGATE_SSO_PROFILES", "the SSO profiles, like default=JQ…");
        let keys = reader.required("COOKIE_KEYS_SECRET_ID", "the secret with the cookie keys");
        let absolute = reader.seconds("FLEXGATE_SESSION_SECONDS", 12 * 3600, 300..=7 * 86_400);
        let idle = reader.seconds("FLEXGATE_SESSION_IDLE_SECONDS", 2 * 3600, 300..=7 * 86_400);
        Some(Self {
            profiles: profiles?,
            destinations: destinations?,
            cookie_keys_secret_id: keys?,
            lifetimes: Lifetimes {
                absolute: Duration::seconds(absolute?.into()),
                idle: Duration::seconds(idle?.into()),
            },
        })
    }
}
