//! Caches each profile's active SSO configuration, as read from Twilio.

use std::sync::{PoisonError, RwLock};

use flexgate::base::outbound::Deadline;
use flexgate::domain::SsoProfile;
use flexgate::twilio::{Sso, SsoConfiguration, TwilioError};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;
use tokio::time::timeout_at;

/// How long Flexgate uses a cached configuration before it reads the configuration again. The configuration rarely
/// changes.
const FRESH: Duration = Duration::minutes(5);
/// How long Flexgate uses a cached configuration while Twilio is not available.
const STALE: Duration = Duration::hours(1);

/// One profile and its configuration.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) profile: SsoProfile,
    latest: RwLock<Option<(SsoConfiguration, OffsetDateTime)>>,
    flight: Mutex<()>,
}

impl Configured {
    pub(super) fn new(profile: SsoProfile) -> Self {
        Self { profile, latest: RwLock::new(None), flight: Mutex::new(()) }
    }

    /// Returns the active configuration, or `None` if Twilio has none. Concurrent callers share one request to Twilio.
    pub(super) async fn get(
        &self,
        sso: &Sso,
        now: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<SsoConfiguration>, TwilioError> {
        if let Some(fresh) = self.younger_than(FRESH, now) {
            return Ok(Some(fresh));
        }
        let _flight = timeout_at(deadline.instant(), self.flight.lock()).await.map_err(|_| TwilioError::Timeout)?;
        if let Some(fresh) = self.younger_than(FRESH, now) {
            return Ok(Some(fresh));
        }
        match sso.configuration(&self.profile.sid, deadline).await {
            Ok(configuration) => {
                let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
                *latest = configuration.clone().map(|configuration| (configuration, now));
                Ok(configuration)
            }
            Err(error) => match self.younger_than(STALE, now) {
                Some(stale) => {
                    tracing::warn!(profile = %self.profile.name, error = %error, "serving an older SSO configuration");
                    Ok(Some(stale))
                }
                None => Err(error),
            },
        }
    }

    fn younger_than(&self, age: Duration, now: OffsetDateTime) -> Option<SsoConfiguration> {
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().filter(|(_, at)| now - *at < age).map(|(configuration, _)| configuration.clone())
    }
}
