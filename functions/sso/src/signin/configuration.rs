//! Caches each profile's active SSO configuration, which Flexgate reads from Twilio.

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

/// How long Flexgate remembers that Twilio has no active configuration. The time is short, because somebody may be
/// setting up SSO at this moment.
const NONE_FRESH: Duration = Duration::seconds(10);
/// After a failure, Flexgate serves a stale configuration for this long before it asks Twilio again.
const PAUSE: Duration = Duration::seconds(5);
/// The time limit for a request to Twilio while Flexgate has a stale configuration to serve.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// One profile and its configuration.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) profile: SsoProfile,
    latest: RwLock<Option<Answered>>,
    /// A request locks this mutex while it reads the configuration from Twilio. The value is the time of the last
    /// failure.
    flight: Mutex<Option<OffsetDateTime>>,
}

/// What Twilio answered last.
#[derive(Debug, Clone)]
struct Answered {
    configuration: Option<SsoConfiguration>,
    at: OffsetDateTime,
}

impl Answered {
    fn is_fresh(&self, now: OffsetDateTime) -> bool {
        now - self.at < if self.configuration.is_some() { FRESH } else { NONE_FRESH }
    }
}

impl Configured {
    pub(super) fn new(profile: SsoProfile) -> Self {
        Self { profile, latest: RwLock::new(None), flight: Mutex::new(None) }
    }

    /// Returns the active configuration, or `None` if Twilio has none. Concurrent callers share one request to Twilio.
    /// If there is a stale configuration, only the caller that sends the request waits for Twilio, for at most
    /// `PATIENCE`. The others get the stale configuration at once.
    pub(super) async fn get(
        &self,
        sso: &Sso,
        now: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<SsoConfiguration>, TwilioError> {
        let fresh = || self.latest().filter(|answered| answered.is_fresh(now));
        if let Some(fresh) = fresh() {
            return Ok(fresh.configuration);
        }
        let stale = self.latest().filter(|answered| answered.configuration.is_some() && now - answered.at < STALE);
        let Some(stale) = stale else {
            let mut failed_at =
                timeout_at(deadline.instant(), self.flight.lock()).await.map_err(|_| TwilioError::Timeout)?;
            return match fresh() {
                Some(fresh) => Ok(fresh.configuration),
                None => self.ask(sso, &mut failed_at, now, deadline).await,
            };
        };
        let Ok(mut failed_at) = self.flight.try_lock() else { return Ok(stale.configuration) };
        if failed_at.is_some_and(|failed_at| now - failed_at < PAUSE) {
            return Ok(stale.configuration);
        }
        self.ask(sso, &mut failed_at, now, deadline.within(PATIENCE)).await.or_else(|error| {
            tracing::warn!(profile = %self.profile.name, error = %error, "serving an older SSO configuration");
            Ok(stale.configuration)
        })
    }

    async fn ask(
        &self,
        sso: &Sso,
        failed_at: &mut Option<OffsetDateTime>,
        now: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<SsoConfiguration>, TwilioError> {
        let answered = sso.configuration(&self.profile.sid, deadline).await;
        *failed_at = answered.is_err().then_some(now);
        let configuration = answered?;
        let answered = Answered { configuration: configuration.clone(), at: now };
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Some(answered);
        Ok(configuration)
    }

    fn latest(&self) -> Option<Answered> {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
