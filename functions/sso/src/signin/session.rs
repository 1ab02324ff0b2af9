//! Returns and refreshes a session's tokens. Only one process at a time refreshes a session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use flexgate::base::error_chain::with_causes;
use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::{FlexUserSid, ObservedRoles, SsoProfile, Username, WorkerSid};
use flexgate::store::{EndedUntil, EndingKey, Lease, Session, SessionKey};
use flexgate::telemetry;
use flexgate::twilio::{ApiError, TwilioError};
use secrecy::SecretString;
use time::{Duration, OffsetDateTime};

use super::service::SignIn;
use super::state::LoginId;
use super::tokens::Tokens;
use super::{Fault, NotAllowed, SSO_SETTINGS};

/// Flexgate refreshes an access token that is valid for less than this time.
const REFRESH_BEFORE: Duration = Duration::minutes(5);
/// How long a process may hold the lease for refreshing a session. If that process crashes, no process can refresh the
/// session until the lease ends.
const LEASE: Duration = Duration::seconds(10);
/// While one request refreshes a session, other requests read the session at this interval, for at most `LOOK_AT_MOST`.
const LOOK_AGAIN: StdDuration = StdDuration::from_millis(50);
const LOOK_AT_MOST: StdDuration = StdDuration::from_secs(4);
/// Flexgate writes a session's last use at most this often. The idle limit is minutes or hours, so this is precise
/// enough.
const TOUCH_EVERY: Duration = Duration::minutes(1);
/// A token that is valid for less than this time is useless to the caller.
const USABLE: Duration = Duration::seconds(5);
/// For this long after a failed refresh, no process tries again, because a second attempt would probably fail too.
const PAUSE: Duration = Duration::seconds(10);
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
    /// When the person signed in.
    pub began_at: OffsetDateTime,
    /// When the session ends at the latest, even if it is in constant use.
    pub ends_at: OffsetDateTime,
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
    /// The session has ended, because it is too old, because it was idle for too long, or because Twilio refuses to
    /// refresh it.
    #[error("the session has ended: {0}")]
    Ended(&'static str),
    /// The person has signed in again elsewhere, and the profile allows one sign-in at a time.
    #[error("the person has signed in elsewhere")]
    Elsewhere,
    /// This client is not allowed to use sessions of this profile.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// Another process is still refreshing the session.
    #[error("another process is refreshing the session")]
    Busy,
    #[error("the session cannot be served")]
    Fault(#[from] Fault),
}

impl SignIn {
    /// Returns the session's access token. If the token expires soon, refreshes it first.
    pub async fn token(
        self: &Arc<Self>,
        unverified_session_id: &str,
        client: Option<IpAddr>,
        deadline: Deadline,
    ) -> Result<SignedIn, SessionError> {
        let key = SessionKey::of(unverified_session_id);
        let patience = deadline.within(LOOK_AT_MOST);
        loop {
            let mut session = self.live(&key).await?;
            self.check_allowed(&session.profile, client).await?;
            self.check_seat(&session).await?;
            let keys = self.keys_for([session.sealed.as_str()], deadline).await?;
            let Some(tokens) = Tokens::open(&session, &keys.value) else {
                // Do not remove the session, because another process may have the key that decrypts its tokens.
                return Err(SessionError::Ended("its key is retired"));
            };
            self.check_tokens(&mut session, &tokens).await?;
            let now = self.now();
            let left = tokens.left(now);
            let tries_later = tokens.last || tokens.failed_within(PAUSE, now);
            if left >= REFRESH_BEFORE || (tries_later && left > USABLE) {
                self.touch(&session, now).await;
                return self.signed_in(session, tokens);
            }
            if tokens.last {
                self.end_session(&key).await?;
                return Err(SessionError::Ended("Twilio does not extend it any more"));
            }
            let sessions = &self.parts.sessions;
            let until = now + LEASE;
            match sessions.lease(&key, session.version, now, until).await.map_err(Fault::from)? {
                Lease::Granted => {
                    // Twilio may replace the refresh token, so store the answer even if the client disconnects.
                    let (this, before) = (self.clone(), Session { sealed: String::new(), ..session.clone() });
                    let refresh = async move { this.refresh(session, tokens, &keys.value, until, deadline).await };
                    if let Some(signed_in) = telemetry::detached(refresh).await? {
                        // During the refresh, the session may have ended, or the person may have signed in elsewhere.
                        self.check_live(&before).await?;
                        self.check_allowed(&before.profile, client).await?;
                        self.check_seat(&before).await?;
                        return Ok(signed_in);
                    }
                }
                Lease::Moved => {}
                Lease::Held if patience.remaining() > LOOK_AGAIN => tokio::time::sleep(LOOK_AGAIN).await,
                Lease::Held if left > USABLE => return self.signed_in(session, tokens),
                Lease::Held => return Err(SessionError::Busy),
            }
        }
    }

    /// Whether the session exists and began with the login `login`. Also true if the session replaced one that began
    /// with this login. The check does not count as a use of the session.
    pub async fn has_finished(
        &self,
        unverified_session_id: &str,
        login: LoginId,
        deadline: Deadline,
    ) -> Result<bool, Fault> {
        let session = self.parts.sessions.get(&SessionKey::of(unverified_session_id)).await?;
        let Some(session) = session else { return Ok(false) };
        if self.ended(&session).await?.is_some() {
            return Ok(false);
        }
        let keys = self.keys_for([session.sealed.as_str()], deadline).await?;
        Ok(Tokens::open(&session, &keys.value).is_some_and(|tokens| tokens.logins.contains(&login.0)))
    }

    /// Ends the session, if there is one.
    pub async fn end(&self, unverified_session_id: &str) -> Result<(), Fault> {
        self.end_session(&SessionKey::of(unverified_session_id)).await
    }

    /// Returns the session, or an error if it has ended.
    async fn live(&self, key: &SessionKey) -> Result<Session, SessionError> {
        let session = self.parts.sessions.get(key).await.map_err(Fault::from)?.ok_or(SessionError::Unknown)?;
        self.check_live(&session).await?;
        Ok(session)
    }

    /// If the session has ended, removes it and returns an error.
    async fn check_live(&self, session: &Session) -> Result<(), SessionError> {
        let Some(ended) = self.ended(session).await? else { return Ok(()) };
        self.end_session(&session.key).await?;
        Err(SessionError::Ended(ended))
    }

    /// Applies the limits that depend on the session's tokens. Shortens the session if the tokens contain a role with a
    /// shorter maximum duration. If the session has ended, removes it and returns an error.
    async fn check_tokens(&self, session: &mut Session, tokens: &Tokens) -> Result<(), SessionError> {
        let lasts = self.parts.policies.of(&session.profile).lasts(&tokens.roles);
        session.ends_at = session.ends_at.min(session.created_at + lasts);
        // Version 0.2.0 stored the username only in the tokens. So Flexgate cannot check earlier whether an identity
        // system has ended the sessions of the person with this username.
        if session.origin.username.is_none() {
            session.origin.username.clone_from(&tokens.username);
            return self.check_live(session).await;
        }
        if self.now() < session.ends_at {
            return Ok(());
        }
        self.end_session(&session.key).await?;
        Err(SessionError::Ended("its longest lifetime is reached"))
    }

    /// Returns why the session has ended, or `None` if it has not ended.
    async fn ended(&self, session: &Session) -> Result<Option<&'static str>, Fault> {
        let now = self.now();
        Ok(if now >= session.ends_at {
            Some("its longest lifetime is reached")
        } else if now - session.used_at >= self.parts.policies.of(&session.profile).lifetimes.idle {
            Some("it was not used for too long")
        } else if self.parts.sign_in_state.get().await?.ends(session.created_at) {
            Some("an operator has ended all sessions")
        } else if self.was_ended(session).await? {
            Some("the person's identity system has ended it")
        } else {
            None
        })
    }

    /// Whether the person's identity system has ended the session. The session may still be in the store, for example
    /// because it was inserted while the person's other sessions were being removed.
    async fn was_ended(&self, session: &Session) -> Result<bool, Fault> {
        let ended = self.ended_until(&session.flex_user_sid, session.origin.username.as_deref()).await?;
        Ok(ended.ends(Some(session.created_at)))
    }

    /// Returns the last time at which an identity system ended all sessions of this person.
    pub(super) async fn ended_until(&self, user: &FlexUserSid, username: Option<&str>) -> Result<EndedUntil, Fault> {
        let mut keys = vec![EndingKey::FlexUser(user.clone())];
        let username = username.and_then(|name| name.trim().parse::<Username>().ok());
        keys.extend(username.map(|username| EndingKey::Username(username.key())));
        Ok(self.parts.endings.ended_until(&keys).await?)
    }

    /// Refuses a session whose person has signed in elsewhere, if the profile allows one sign-in at a time. The session
    /// stays in the store, so that every page that uses the session gets this answer.
    async fn check_seat(&self, session: &Session) -> Result<(), SessionError> {
        if !self.parts.policies.of(&session.profile).is_single {
            return Ok(());
        }
        let newest = self.parts.seats.newest(&session.flex_user_sid, &session.profile).await.map_err(Fault::from)?;
        match newest {
            Some(newest) if newest.displaces(session.seat()) => Err(SessionError::Elsewhere),
            _ => Ok(()),
        }
    }

    /// Refreshes the tokens. The caller holds the lease, which ends at `until`. Returns `None` if the session has
    /// changed in the meantime.
    ///
    /// If the refresh fails, returns the old access token if it is still valid. Ends the session in three cases: the
    /// person is inactive, Twilio's answer is for another account or user, or Twilio refuses to refresh and the old
    /// token has expired.
    async fn refresh(
        &self,
        session: Session,
        tokens: Tokens,
        keys: &KeyRing,
        until: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<SignedIn>, SessionError> {
        let profile = self.profile_of(&session)?;
        let is_inactive = self.is_inactive(&session.flex_user_sid, tokens.username.as_deref()).await;
        if matches!(is_inactive, Ok(true)) {
            self.turn_out(session.flex_user_sid).await;
            return Err(SessionError::Ended("the person is inactive"));
        }
        let refresh_token = SecretString::from(tokens.refresh_token.clone());
        let answered = match is_inactive {
            Ok(_) => self.parts.sso.refresh(&profile.sid, &refresh_token, deadline.within(REFRESH_AT_MOST)).await,
            Err(fault) => return self.serve_the_good(session, tokens, keys, until, fault).await,
        };
        telemetry::refreshed("session", answered.is_ok());
        let refreshed = match answered {
            Ok(refreshed) if refreshed.info.flex_user_sid == session.flex_user_sid => refreshed,
            Ok(_) | Err(TwilioError::Foreign) => {
                self.end_session(&session.key).await?;
                return Err(Fault::from(TwilioError::Foreign).into());
            }
            // The SSO settings in the Console have a mistake. The refresh token itself may be valid, so keep the
            // session.
            Err(error @ TwilioError::Refused(ApiError { code: Some(SSO_SETTINGS), .. })) => {
                return self.serve_the_good(session, tokens, keys, until, error.into()).await;
            }
            Err(TwilioError::Refused(error)) => {
                tracing::info!(error = %error, "Twilio refuses to refresh a session");
                return self.serve_the_last(session, tokens, keys).await;
            }
            Err(error) => return self.serve_the_good(session, tokens, keys, until, error.into()).await,
        };
        let mut next = Tokens::of(&refreshed, &refreshed.info, tokens.logins.clone(), self.now());
        next.last = next.brings_no_more_time(&tokens);
        // A refresh does not return the worker's SID, so keep the known SID.
        next.worker_sid = next.worker_sid.or(tokens.worker_sid);
        if !self.replace(&session, &next, keys).await? {
            return Ok(None);
        }
        self.touch(&session, self.now()).await;
        self.signed_in(session, next).map(Some)
    }

    /// Returns the old tokens after a failed refresh, if they are still valid. Also records the failure, so that
    /// requests during the next seconds get these tokens at once. If the old tokens have expired, ends the lease and
    /// returns `fault`.
    async fn serve_the_good(
        &self,
        session: Session,
        mut tokens: Tokens,
        keys: &KeyRing,
        until: OffsetDateTime,
        fault: Fault,
    ) -> Result<Option<SignedIn>, SessionError> {
        let now = self.now();
        if tokens.left(now) > USABLE {
            tracing::warn!(fault = with_causes(&fault), "session not refreshed, the token is still good");
            tokens.failed_at = now.unix_timestamp();
            return match self.replace(&session, &tokens, keys).await {
                Ok(false) => Ok(None),
                Ok(true) | Err(_) => self.signed_in(session, tokens).map(Some),
            };
        }
        self.parts.sessions.release(&session.key, session.version, until).await.map_err(Fault::from)?;
        Err(fault.into())
    }

    /// Handles a refresh that Twilio has refused. If the old tokens are still valid, returns them, and records that a
    /// further refresh is useless. Otherwise, ends the session and returns an error.
    ///
    /// Twilio also refuses a refresh token that it has already replaced. Flexgate sends such a token if Twilio's answer
    /// to the previous refresh was lost.
    async fn serve_the_last(
        &self,
        session: Session,
        mut tokens: Tokens,
        keys: &KeyRing,
    ) -> Result<Option<SignedIn>, SessionError> {
        let now = self.now();
        if tokens.left(now) <= USABLE {
            self.end_session(&session.key).await?;
            return Err(SessionError::Ended("Twilio refuses to refresh it"));
        }
        tokens.last = true;
        if !self.replace(&session, &tokens, keys).await? {
            return Ok(None);
        }
        self.touch(&session, now).await;
        self.signed_in(session, tokens).map(Some)
    }

    /// Stores the session's new tokens and ends the lease. Returns false if the session has changed or no longer
    /// exists.
    async fn replace(&self, session: &Session, tokens: &Tokens, keys: &KeyRing) -> Result<bool, Fault> {
        let sealed = tokens.seal(&session.key, keys, self.parts.clock_rng.rng.as_ref())?;
        Ok(self.parts.sessions.refreshed(&session.key, session.version, &sealed).await?)
    }

    /// Records the use of the session. If that fails, the person still gets their token.
    async fn touch(&self, session: &Session, now: OffsetDateTime) {
        if now - session.used_at >= TOUCH_EVERY
            && let Err(error) = self.parts.sessions.touch(session, now).await
        {
            tracing::warn!(error = %error, "the use of a session was not recorded");
        }
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
            began_at: session.created_at,
            ends_at: session.ends_at,
            identity: tokens.identity,
            username: tokens.username,
            roles: tokens.roles,
            flex_user_sid: session.flex_user_sid,
            worker_sid: tokens.worker_sid,
            profile,
        })
    }
}
