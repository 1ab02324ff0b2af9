//! The sign-in settings.

use flexgate::base::settings::Reader;
use flexgate::domain::SsoProfiles;
use flexgate::platform::Common;
use time::Duration;

use crate::signin::Lifetimes;

/// The shortest idle limit, in seconds. A page reports every [`PAGES_REPORT_EVERY`] seconds that somebody works on it.
/// Flexgate notes this at most once a minute, browsers delay timers of pages in the background by up to a minute, and a
/// report may need a few tries.
const SHORTEST_IDLE: u32 = 600;
/// `REPORT_EVERY` in flexgate.js, in seconds.
const PAGES_REPORT_EVERY: u32 = 240;
const LONGEST: u32 = 7 * 86_400;

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
        let (common, sign_in) = (Common::read(reader), SignInSettings::read(reader));
        Some(Self { common: common?, sign_in: sign_in? })
    }
}

/// Sign-in through SSO.
#[derive(Debug, Clone)]
pub struct SignInSettings {
    /// `FLEXGATE_SSO_PROFILES`: `default=JQ…`, comma-separated.
    pub profiles: SsoProfiles,
    /// `COOKIE_KEYS_SECRET_ID`.
    pub cookie_keys_secret_id: String,
    /// How long sessions last: `FLEXGATE_SESSION_SECONDS` (12 hours by default) and `FLEXGATE_SESSION_IDLE_SECONDS` (2
    /// hours by default).
    pub lifetimes: Lifetimes,
}

impl SignInSettings {
    /// Reads the group.
    pub fn read(reader: &mut Reader) -> Option<Self> {
        let profiles = reader.required("FLEXGATE_SSO_PROFILES", "the SSO profiles, like default=JQ…");
        let keys = reader.required("COOKIE_KEYS_SECRET_ID", "the secret with the cookie keys");
        let absolute = reader.seconds("FLEXGATE_SESSION_SECONDS", 12 * 3600, 300..=LONGEST);
        let idle = idle(reader);
        Some(Self {
            profiles: profiles?,
            cookie_keys_secret_id: keys?,
            lifetimes: Lifetimes {
                absolute: Duration::seconds(absolute?.into()),
                idle: Duration::seconds(idle?.into()),
            },
        })
    }
}

/// Reads the idle limit. Refuses one that would sign out people who are working.
fn idle(reader: &mut Reader) -> Option<u32> {
    const VARIABLE: &str = "FLEXGATE_SESSION_IDLE_SECONDS";
    let idle = reader.or(VARIABLE, 2 * 3600)?;
    if (SHORTEST_IDLE..=LONGEST).contains(&idle) {
        return Some(idle);
    }
    let reason = if idle < SHORTEST_IDLE {
        format!(
            ", because pages report only every {PAGES_REPORT_EVERY} seconds that somebody works on them: \
             with {idle} seconds, Flexgate would sign out people who are working"
        )
    } else {
        String::new()
    };
    reader.wrong(VARIABLE, format!("must be from {SHORTEST_IDLE} to {LONGEST} seconds{reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The idle limit in seconds that `value` gives, or the mistakes.
    fn read(value: Option<&str>) -> Result<i64, String> {
        let mut reader = Reader::empty()
            .with([("FLEXGATE_SSO_PROFILES", format!("default=JQ{}", "0".repeat(32)))])
            .with([("COOKIE_KEYS_SECRET_ID", "cookie-keys")])
            .with(value.map(|value| ("FLEXGATE_SESSION_IDLE_SECONDS", value)));
        let settings = SignInSettings::read(&mut reader);
        reader
            .finish(settings)
            .map(|settings| settings.lifetimes.idle.whole_seconds())
            .map_err(|error| error.variables().iter().map(|one| format!("{} {}", one.variable, one.problem)).collect())
    }

    #[test]
    fn r9_an_idle_limit_that_would_throw_out_active_agents_is_refused_with_the_reason() {
        for value in ["0", "1", "239", "240", "300", "599"] {
            let refusal = read(Some(value)).unwrap_err();
            assert_eq!(
                refusal,
                format!(
                    "FLEXGATE_SESSION_IDLE_SECONDS must be from 600 to 604800 seconds, because pages report only every \
                     240 seconds that somebody works on them: with {value} seconds, Flexgate would sign out people who \
                     are working"
                )
            );
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
