//! Returns and refreshes a session's tokens. Only one process at a time refreshes a session.

use std::time::Duration as StdDuration;

use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::{FlexUserSid, ObservedRoles, SsoProfile, WorkerSid};
use flexgate::store::{Lease, Session, SessionKey};
use flexgate::telemetry;
use flexgate::twilio::TwilioError;
use secrecy::SecretString;
use time::{Duration, OffsetDateTime};

use super::Fault;
use super::service::SignIn;
use super::tokens::Tokens;

/// Flexgate refreshes an access token that is valid for less than this time.
const REFRESH_BEFORE: Duration = Duration::minutes(5);
/// The duration of a lease on a refresh. If the process with the lease crashes, no process can refresh the session
/// until the lease ends.
const LEASE: Duration = Duration::seconds(10);
/// While one request refreshes a session, other requests read the session at this interval, for at most `LOOK_AT_MOST`.
const LOOK_AGAIN: StdDuration = StdDuration::from_millis(50);
const LOOK_AT_MOST: StdDuration = StdDuration::from_secs(4);
/// Flexgate writes a session's last use at most this often. The idle limit is minutes or hours, so this is precise
/// enough.
const TOUCH_EVERY: Duration = Duration::minutes(1);
/// A token that is valid for less than this time is useless to the caller.
const USABLE: Duration = Duration::seconds(5);
/// The time limit of one refresh, including retries. It is shorter than the lease, so that two processes never refresh
/// at once.
const REFRESH_AT_MOST: StdDuration = StdDuration::from_secs(7);

/// What a signed-in page gets.
#[derive(Debug)]
pub struct SignedIn {
    /// The access token, for the SDK.
    pub access_token: SecretString,
    /// When it expires.
    pub expires_at: OffsetDateTime,
    /// The identity in Twilio's other products.
    pub identity: Option<String>,
    pub username: Option<String>,
    pub roles: ObservedRoles,
    pub flex_user_sid: FlexUserSid,
    /// The worker, if Twilio reports one.
    pub worker_sid: Option<WorkerSid>,
    /// The profile that the person used for sign-in.
    pub profile: SsoProfile,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The session never existed, or it was deleted.
    #[error("there is no such session")]
    Unknown,
    /// The session has ended: it is too old, was idle for too long, or Twilio refuses to refresh it.
    #[error("the session has ended: {0}")]
    Ended(&'static str),
    /// Another process is still refreshing the session.
    #[error("another process is refreshing the session")]
    Busy,
    #[error("the session cannot be served")]
    Fault(#[from] Fault),
}

impl SignIn {
    /// Returns the session's access token. Refreshes a token that expires soon.
    pub async fn token(&self, unverified_session_id: &str, deadline: Deadline) -> Result<SignedIn, SessionError> {
        let key = SessionKey::of(unverified_session_id);
        let patience = deadline.within(LOOK_AT_MOST);
        loop {
            let session = self.live(&key).await?;
            let keys = &self.parts.keys.get(deadline).await.map_err(Fault::from)?.value;
            let Some(tokens) = Tokens::open(&session, keys) else {
                self.end_session(&key).await?;
                return Err(SessionError::Ended("its key is retired"));
            };
            let now = self.now();
            let left = tokens.left(now);
            if left >= REFRESH_BEFORE || (tokens.last && left > USABLE) {
                self.touch(&session, now).await?;
                return self.signed_in(session, tokens);
            }
            if tokens.last {
                self.end_session(&key).await?;
                return Err(SessionError::Ended("Twilio does not extend it any more"));
            }
            let sessions = &self.parts.sessions;
            match sessions.lease(&key, session.version, now, now + LEASE).await.map_err(Fault::from)? {
                Lease::Granted => return self.refresh(session, tokens, keys, deadline).await,
                Lease::Moved => {}
                Lease::Held if patience.remaining() > LOOK_AGAIN => tokio::time::sleep(LOOK_AGAIN).await,
                Lease::Held if left > USABLE => return self.signed_in(session, tokens),
                Lease::Held => return Err(SessionError::Busy),
            }
        }
    }

    /// Whether this session exists and has not ended. The call does not count as a use of the session.
    pub async fn is_signed_in(&self, unverified_session_id: &str) -> Result<bool, Fault> {
        let session = self.parts.sessions.get(&SessionKey::of(unverified_session_id)).await?;
        Ok(session.is_some_and(|session| self.ended(&session).is_none()))
    }

    /// Ends the session, if there is one.
    pub async fn end(&self, unverified_session_id: &str) -> Result<(), Fault> {
        self.end_session(&SessionKey::of(unverified_session_id)).await
    }

    /// Returns the session, or an error if it has ended.
    async fn live(&self, key: &SessionKey) -> Result<Session, SessionError> {
        let session = self.parts.sessions.get(key).await.map_err(Fault::from)?.ok_or(SessionError::Unknown)?;
        let Some(ended) = self.ended(&session) else { return Ok(session) };
        self.end_session(key).await?;
        Err(SessionError::Ended(ended))
    }

    /// Returns why the session has ended, or `None` if it has not ended.
    fn ended(&self, session: &Session) -> Option<&'static str> {
        let now = self.now();
        if now >= session.ends_at {
            Some("its longest lifetime is reached")
        } else if now - session.used_at >= self.parts.lifetimes.idle {
            Some("it was not used for too long")
        } else {
            None
        }
    }

    /// Refreshes the tokens while holding the lease. After a failure, returns the old access token if it is still
    /// valid. The session ends only if Twilio refuses to refresh and the old token has expired.
    async fn refresh(
        &self,
        session: Session,
        tokens: Tokens,
        keys: &KeyRing,
        deadline: Deadline,
    ) -> Result<SignedIn, SessionError> {
        let profile = self.profile_of(&session)?;
        let refresh_token = SecretString::from(tokens.refresh_token.clone());
        let answered = self.parts.sso.refresh(&profile.sid, &refresh_token, deadline.within(REFRESH_AT_MOST)).await;
        telemetry::refreshed("session", answered.is_ok());
        let refreshed = match answered {
            Ok(refreshed) if refreshed.info.flex_user_sid == session.flex_user_sid => refreshed,
            Ok(_) | Err(TwilioError::Foreign) => {
                self.end_session(&session.key).await?;
                return Err(Fault::from(TwilioError::Foreign).into());
            }
            Err(TwilioError::Refused(error) | TwilioError::NotFound(error)) => {
                tracing::info!(error = %error, "Twilio refuses to refresh a session");
                return self.serve_the_last(session, tokens, keys).await;
            }
            Err(error) if tokens.left(self.now()) > USABLE => {
                // Keep the lease after a failure. Until the lease ends, no process sends another refresh.
                tracing::warn!(error = %error, "session not refreshed, the token is still good");
                return self.signed_in(session, tokens);
            }
            Err(error) => {
                self.parts.sessions.release(&session.key, session.version).await.map_err(Fault::from)?;
                return Err(Fault::from(error).into());
            }
        };
        let mut next = Tokens::of(&refreshed, &refreshed.info, self.now());
        next.last = next.brings_no_more_time(&tokens);
        // A refresh does not return the worker's SID, so keep the known SID.
        next.worker_sid = next.worker_sid.or(tokens.worker_sid);
        if !self.replace(&session, &next, keys).await? {
            return Err(SessionError::Unknown);
        }
        self.touch(&session, self.now()).await?;
        self.signed_in(session, next)
    }

    /// Returns the old tokens after Twilio has refused to refresh them, while they are valid. Records that a further
    /// refresh is useless.
    ///
    /// Twilio also refuses a refresh token that it has already replaced, for example after a lost answer.
    async fn serve_the_last(
        &self,
        session: Session,
        mut tokens: Tokens,
        keys: &KeyRing,
    ) -> Result<SignedIn, SessionError> {
        let now = self.now();
        if tokens.left(now) <= USABLE {
            self.end_session(&session.key).await?;
            return Err(SessionError::Ended("Twilio refuses to refresh it"));
        }
        tokens.last = true;
        // If nothing was written, another process has refreshed the session. These tokens are valid too.
        self.replace(&session, &tokens, keys).await?;
        self.touch(&session, now).await?;
        self.signed_in(session, tokens)
    }

    /// Stores the session's new tokens and ends the lease. Returns false if the session has changed or no longer
    /// exists.
    async fn replace(&self, session: &Session, tokens: &Tokens, keys: &KeyRing) -> Result<bool, Fault> {
        let sealed = tokens.seal(&session.key, keys, self.parts.clock_rng.rng.as_ref())?;
        Ok(self.parts.sessions.refreshed(&session.key, session.version, &sealed).await?)
    }

    async fn touch(&self, session: &Session, now: OffsetDateTime) -> Result<(), Fault> {
        if now - session.used_at >= TOUCH_EVERY {
            self.parts.sessions.touch(&session.key, now).await?;
        }
        Ok(())
    }

    async fn end_session(&self, key: &SessionKey) -> Result<(), Fault> {
        Ok(self.parts.sessions.end(key).await?)
    }

    fn profile_of(&self, session: &Session) -> Result<SsoProfile, SessionError> {
        self.profile(session.profile.as_str()).cloned().ok_or(SessionError::Ended("its profile is configured no more"))
    }

    fn signed_in(&self, session: Session, tokens: Tokens) -> Result<SignedIn, SessionError> {
        let profile = self.profile_of(&session)?;
        Ok(SignedIn {
            access_token: tokens.access_token.into(),
            expires_at: OffsetDateTime::from_unix_timestamp(tokens.expires_at).map_err(|_| Fault::Seal)?,
            identity: tokens.identity,
            username: tokens.username,
            roles: tokens.roles,
            flex_user_sid: session.flex_user_sid,
            worker_sid: tokens.worker_sid,
            profile,
        })
    }
}
