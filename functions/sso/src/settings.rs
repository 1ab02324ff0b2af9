//! The sign-in settings.

use flexgate::base::settings::Reader;
use flexgate::domain::SsoProfiles;
use flexgate::platform::Common;
use time::Duration;

use crate::signin::{
    Destinations, LONGEST, Lifetimes, SHORTEST, SHORTEST_IDLE, SessionPolicies, StoredAddress, WrittenPolicies,
};

#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings common to every function.
    pub common: Common,
    pub sign_in: SignInSettings,
}

impl Settings {
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
    /// The allowed return addresses: `FLEXGATE_PUBLIC_URL`, `FLEXGATE_ALLOWED_ORIGINS` and
    /// `FLEXGATE_DEFAULT_RETURN_TO`.
    pub destinations: Destinations,
    /// `COOKIE_KEYS_SECRET_ID`.
    pub cookie_keys_secret_id: String,
    /// The limits of each profile's sessions: `FLEXGATE_SESSION_SECONDS` (12 hours by default),
    /// `FLEXGATE_SESSION_IDLE_SECONDS` (2 hours by default) and `FLEXGATE_SESSION_POLICIES`.
    pub policies: SessionPolicies,
    /// `FLEXGATE_SESSION_ADDRESS`: which part of the client's IP address a session records.
    pub stored_address: StoredAddress,
}

impl SignInSettings {
    /// Reads the sign-in settings. Returns `None` if they or the common settings are wrong.
    pub fn read(reader: &mut Reader, common: Option<&Common>) -> Option<Self> {
        let destinations = common.map(|common| Destinations::new(&common.public_url, &common.allowed_origins));
        let destinations = destinations.and_then(|destinations| {
            let default = reader.optional("FLEXGATE_DEFAULT_RETURN_TO", |text| match destinations.parse(text) {
                Ok(default) if default.as_str().starts_with("/sso/") => {
                    Err("must not be a route of sign-in, because people would sign in again and again".to_owned())
                }
                parsed => parsed.map_err(|error| error.to_string()),
            })?;
            Some(match default {
                Some(default) => destinations.with_default(default),
                None => destinations,
            })
        });
        let profiles: Option<SsoProfiles> =
            reader.required("FLEXGATE_SSO_PROFILES", "the SSO profiles, like default=JQ…");
        let keys = reader.required("COOKIE_KEYS_SECRET_ID", "the secret with the cookie keys");
        let policies = policies(reader, profiles.as_ref());
        let stored_address = reader.or("FLEXGATE_SESSION_ADDRESS", StoredAddress::default());
        Some(Self {
            profiles: profiles?,
            destinations: destinations?,
            cookie_keys_secret_id: keys?,
            policies: policies?,
            stored_address: stored_address?,
        })
    }
}

/// How often an open page reports activity, in seconds. `REPORT_EVERY` in shared/web/src/keeper.ts must be the same
/// time in milliseconds.
const PAGES_REPORT_EVERY: u32 = 240;

fn policies(reader: &mut Reader, profiles: Option<&SsoProfiles>) -> Option<SessionPolicies> {
    const VARIABLE: &str = "FLEXGATE_SESSION_POLICIES";
    let lifetimes = lifetimes(reader);
    let written = reader.or(VARIABLE, WrittenPolicies::default())?;
    if let Some(unknown) = profiles.and_then(|profiles| written.unknown_profile(profiles)) {
        return reader.wrong(VARIABLE, format!("names {unknown}, which is not in FLEXGATE_SSO_PROFILES"));
    }
    Some(SessionPolicies::new(lifetimes?, written))
}

fn lifetimes(reader: &mut Reader) -> Option<Lifetimes> {
    let absolute = reader.seconds("FLEXGATE_SESSION_SECONDS", 12 * 3600, SHORTEST..=LONGEST);
    let idle = idle(reader);
    Some(Lifetimes { absolute: Duration::seconds(absolute?.into()), idle: Duration::seconds(idle?.into()) })
}

fn idle(reader: &mut Reader) -> Option<u32> {
    const VARIABLE: &str = "FLEXGATE_SESSION_IDLE_SECONDS";
    let idle = reader.or(VARIABLE, 2 * 3600)?;
    let bounds = format!("must be from {SHORTEST_IDLE} to {LONGEST} seconds");
    match idle {
        SHORTEST_IDLE..=LONGEST => Some(idle),
        0..SHORTEST_IDLE => {
            let reason = "with less, Flexgate would sign out people who are working";
            let problem = format!(
                "is {idle}, and {bounds}: pages report activity every {PAGES_REPORT_EVERY} seconds, so {reason}"
            );
            reader.wrong(VARIABLE, problem)
        }
        _ => reader.wrong(VARIABLE, bounds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the idle limit in seconds, or the settings error, for this value of the variable.
    fn read(value: Option<&str>) -> Result<i64, String> {
        let mut reader = Reader::empty().with(value.map(|value| ("FLEXGATE_SESSION_IDLE_SECONDS", value)));
        let lifetimes = lifetimes(&mut reader);
        let mistake = |error: flexgate::base::settings::SettingsError| {
            let [one] = error.variables() else { panic!("{error}") };
            format!("{} {}", one.variable, one.problem)
        };
        reader.finish(lifetimes).map(|lifetimes| lifetimes.idle.whole_seconds()).map_err(mistake)
    }

    #[test]
    fn r9_an_idle_limit_that_would_sign_out_active_people_is_refused_with_the_reason() {
        for value in ["0", "1", "239", "240", "300", "599"] {
            let reason = format!(
                "FLEXGATE_SESSION_IDLE_SECONDS is {value}, and must be from 600 to 604800 seconds: pages report activity \
                 every 240 seconds, so with less, Flexgate would sign out people who are working"
            );
            assert_eq!(read(Some(value)), Err(reason));
        }
    }

    #[test]
    fn r9_other_idle_limits_are_accepted_or_refused_by_their_size_alone() {
        assert_eq!(read(None), Ok(7_200));
        assert_eq!(read(Some("600")), Ok(600));
        assert_eq!(read(Some("604800")), Ok(604_800));
        let too_long = "FLEXGATE_SESSION_IDLE_SECONDS must be from 600 to 604800 seconds";
        assert_eq!(read(Some("604801")), Err(too_long.to_owned()));
        for value in ["-1", "600.5", "ten minutes"] {
            assert!(read(Some(value)).unwrap_err().starts_with("FLEXGATE_SESSION_IDLE_SECONDS "), "{value}");
        }
    }
}
