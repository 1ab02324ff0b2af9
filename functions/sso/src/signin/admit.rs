//! Completes a sign-in: exchanges the code, stores a session, and refuses people who have left.

use std::time::Duration;

use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::{FlexUserSid, SsoProfile, Username};
use flexgate::store::{Message, Session, SessionKey, SessionOrigin};
use flexgate::twilio::{ApiError, SsoTokens, TokenInfo, TwilioError};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use super::login::{CallbackError, Completed, Found};
use super::pending::{MAX_PENDING, Pending, session_id};
use super::tokens::Tokens;
use super::{Fault, SSO_SETTINGS, SignIn};

/// The time limit for Tokens/Info after a code exchange. It is short, because the sign-in can succeed without
/// Tokens/Info.
const INFO_AT_MOST: Duration = Duration::from_secs(2);

/// How long the earlier session still lasts after the same person has signed in again in the same browser.
const REPLACED_LASTS: time::Duration = time::Duration::seconds(10);

/// How a session begins.
struct Beginning {
    /// When the login that led to the session began. The person authenticated after this time.
    at: OffsetDateTime,
    /// The seat of the browser's previous session, if that session belongs to the same person and profile. A seat
    /// stands for all sessions that one person has had in one browser, one after another.
    seat: Option<SessionKey>,
    origin: SessionOrigin,
}

impl SignIn {
    /// Exchanges the code at Twilio, and stores a session.
    pub(super) async fn sign_in(
        &self,
        profile: &SsoProfile,
        found: &Found,
        unverified_code: &SecretString,
        keys: &KeyRing,
        deadline: Deadline,
    ) -> Result<Completed, CallbackError> {
        let login = &found.login;
        let sso = &self.parts.sso;
        let exchanged = sso.exchange(&profile.sid, unverified_code, &login.code_verifier, &login.nonce, deadline).await;
        let tokens = exchanged.map_err(|error| match error {
            // The SSO settings in the Console are wrong. The code itself may be valid, so do not report it as rejected.
            TwilioError::Refused(ApiError { code: Some(SSO_SETTINGS), .. }) => error.into(),
            TwilioError::Refused(_) | TwilioError::NotFound(_) if found.has_others => CallbackError::Mixed(error),
            TwilioError::Refused(_) | TwilioError::NotFound(_) => CallbackError::Rejected(error),
            other => other.into(),
        })?;
        let info = self.information(&tokens, deadline).await?;
        let earlier = self.earlier(found.visitor.earlier_session.as_ref(), deadline).await;
        let mut logins = earlier.as_ref().map(|(_, logins)| logins.clone()).unwrap_or_default();
        logins.push(login.id.0);
        logins.drain(..logins.len().saturating_sub(MAX_PENDING));
        let is_same =
            |earlier: &Session| (&earlier.flex_user_sid, &earlier.profile) == (&info.flex_user_sid, &profile.name);
        let same = earlier.as_ref().map(|(earlier, _)| earlier).filter(|earlier| is_same(earlier));
        let began = Beginning {
            at: self.began_at(login, &info).await?,
            seat: same.map(|earlier| earlier.seat().clone()),
            origin: self.origin(found, &info),
        };
        let fresh = Tokens::of(&tokens, &info, logins, self.now());
        let (session_id, lasts) = self.keep(profile, &info, &fresh, began, keys).await?;
        self.refuse_leaver(&info, &session_id).await?;
        if let Some((earlier, _)) = earlier {
            self.replace_session(&earlier, &info.flex_user_sid).await;
        }
        let location = self.address(self.login_keys(&profile.name, keys), login).await;
        Ok(Completed { location, session_id, login: login.id, flex_user_sid: info.flex_user_sid, lasts })
    }

    /// Returns the browser's previous session, and the numbers of the logins that led to that session.
    async fn earlier(&self, key: Option<&SessionKey>, deadline: Deadline) -> Option<(Session, Vec<u64>)> {
        let session = self.parts.sessions.get(key?).await.ok()??;
        let keys = self.keys_for([session.sealed.as_str()], deadline).await.ok();
        let logins = keys.and_then(|keys| Tokens::open(&session, &keys.value)).map(|tokens| tokens.logins);
        Some((session, logins.unwrap_or_default()))
    }

    /// Returns the time at which the login began, which also counts as the beginning of the session. Refuses a login
    /// that began before the person's sessions were ended, because the person may have authenticated before that
    /// moment.
    async fn began_at(&self, login: &Pending, info: &TokenInfo) -> Result<OffsetDateTime, CallbackError> {
        let ended = self.ended_until(&info.flex_user_sid, info.username.as_deref()).await?;
        let state = self.parts.sign_in_state.get().await.map_err(Fault::from)?;
        if ended.ends(Some(login.begun_at)) || state.ends(login.begun_at) {
            return Err(CallbackError::SignedOut);
        }
        Ok(login.begun_at)
    }

    /// Ends the browser's previous session. If the new session belongs to the same person, the previous one ends only
    /// after a few seconds, because another tab may still be using it.
    async fn replace_session(&self, earlier: &Session, user: &FlexUserSid) {
        let sessions = &self.parts.sessions;
        let ended = if earlier.flex_user_sid == *user {
            sessions.end_at(&earlier.key, self.now() + REPLACED_LASTS).await
        } else {
            sessions.end(&earlier.key).await
        };
        if let Err(error) = ended {
            tracing::warn!(error = %error, "the browser's earlier session was not ended; it ends when idle");
        }
    }

    /// Returns the new token's details. Uses the answer to the exchange if it is complete, and otherwise asks
    /// Tokens/Info. If Tokens/Info rejects the token or contradicts the exchange, returns an error. If Tokens/Info
    /// fails in another way, returns the incomplete details, unless they lack the username.
    async fn information(&self, tokens: &SsoTokens, deadline: Deadline) -> Result<TokenInfo, TwilioError> {
        let exchanged = &tokens.info;
        if exchanged.username.is_some() && exchanged.identity.is_some() && exchanged.worker_sid.is_some() {
            return Ok(exchanged.clone());
        }
        match self.parts.sso.token_info(&tokens.access_token, deadline.within(INFO_AT_MOST)).await {
            Ok(mut info) if info.flex_user_sid == exchanged.flex_user_sid && info.expiration > self.now() => {
                info.username = info.username.or_else(|| exchanged.username.clone());
                Ok(info)
            }
            Ok(_) => Err(TwilioError::Malformed("Tokens/Info disagrees with the exchange")),
            Err(error @ (TwilioError::Refused(_) | TwilioError::NotFound(_) | TwilioError::Foreign)) => Err(error),
            // Without a username, Flexgate cannot check whether the person has left.
            Err(error) if exchanged.username.is_none() => Err(error),
            Err(error) => {
                tracing::warn!(error = %error, "Tokens/Info failed: the session does not know its worker");
                Ok(exchanged.clone())
            }
        }
    }

    /// Refuses a person who has left, and ends that person's new session. Also has the Flex user deactivated again,
    /// because Twilio's SSO may have reactivated the user.
    ///
    /// This check runs after the session is inserted. So if the person is deactivated at the same time, either this
    /// check notices it, or the deactivation ends the session.
    async fn refuse_leaver(&self, info: &TokenInfo, session_id: &SecretString) -> Result<(), CallbackError> {
        match self.is_inactive(&info.flex_user_sid, info.username.as_deref()).await {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.turn_out(info.flex_user_sid.clone()).await;
                Err(CallbackError::Inactive)
            }
            Err(fault) => {
                let ended = self.parts.sessions.end(&SessionKey::of(session_id.expose_secret())).await;
                if let Err(error) = ended {
                    tracing::warn!(error = %error, "a session that nobody received was not ended; it ends when idle");
                }
                Err(fault.into())
            }
        }
    }

    /// Whether a source says that the person is inactive.
    pub async fn is_inactive(&self, user: &FlexUserSid, username: Option<&str>) -> Result<bool, Fault> {
        let username = username.and_then(|name| name.trim().parse::<Username>().ok()).map(|username| username.key());
        Ok(self.parts.deactivations.says_inactive(Some(user), username.as_ref()).await?)
    }

    /// Ends all sessions of a person who has left. Also queues a job that deactivates the Flex user again, because
    /// Twilio's SSO may have reactivated the user.
    pub(super) async fn turn_out(&self, user: FlexUserSid) {
        if let Err(error) = self.parts.sessions.end_all_of(&user).await {
            tracing::warn!(error = %error, "the sessions of a leaver were not ended; no session is refreshed any more");
        }
        self.have_deactivated(user).await;
    }

    /// Queues a job that deactivates the Flex user again. The queue accepts at most one such job per user and minute.
    /// If queueing fails, the next sweep deactivates the user.
    async fn have_deactivated(&self, user: FlexUserSid) {
        let now = self.now();
        let cause = format!("sign-in:{}", now.unix_timestamp().div_euclid(60));
        let job = Message::Reconcile { user, cause, left: None };
        if let Err(error) = self.parts.queue.send(&[job], now).await {
            tracing::warn!(error = %error, "a leaver who signed in was not queued for deactivation; a sweep finds them");
        }
    }

    /// Returns what administrators can see about how a session began.
    fn origin(&self, found: &Found, info: &TokenInfo) -> SessionOrigin {
        let visitor = &found.visitor;
        SessionOrigin {
            username: info.username.clone(),
            network: visitor.address.map(|address| self.parts.stored_address.of(address)),
            browser: visitor.browser.map(str::to_owned),
            idle: None,
        }
    }

    /// Stores a new session. Returns its identifier and its maximum duration.
    async fn keep(
        &self,
        profile: &SsoProfile,
        info: &TokenInfo,
        tokens: &Tokens,
        began: Beginning,
        keys: &KeyRing,
    ) -> Result<(SecretString, time::Duration), Fault> {
        let now = self.now();
        let session_id = session_id(self.parts.clock_rng.rng.as_ref());
        let key = SessionKey::of(session_id.expose_secret());
        let sealed = tokens.seal(&key, keys, self.parts.clock_rng.rng.as_ref())?;
        let sessions = &self.parts.sessions;
        if let Err(error) = sessions.sweep(now).await {
            tracing::warn!(error = %error, "sessions that have ended were not removed");
        }
        let policy = self.parts.policies.of(&profile.name);
        let lasts = policy.lasts(&info.roles);
        let session = Session {
            key,
            profile: profile.name.clone(),
            flex_user_sid: info.flex_user_sid.clone(),
            sealed,
            version: 0,
            created_at: began.at,
            used_at: now,
            ends_at: began.at + lasts,
            seat: began.seat,
            origin: SessionOrigin { idle: Some(policy.lifetimes.idle), ..began.origin },
        };
        sessions.insert(session.clone()).await?;
        let seats = &self.parts.seats;
        let is_limited = async || {
            let newest = seats.newest(&session.flex_user_sid, &session.profile).await?;
            Ok::<_, Fault>(newest.is_some_and(|newest| newest.is_only))
        };
        // A seat stands for all sessions that one person has had in one browser, one after another. If the profile
        // allows each person only one seat, always record this seat. If the profile has lost this limit since the
        // newest recorded seat was taken, record this seat too. Otherwise the recorded seat would still count as the
        // newest. If an operator then set the limit again, the recorded seat would end this session.
        if policy.is_single || is_limited().await? {
            // The browser gets this session's cookie only after this write. So if the person later signs in elsewhere,
            // Flexgate records the later sign-in after this one, and the later sign-in counts as the newest.
            seats.take(&session, policy.is_single).await?;
        }
        Ok((session_id, lasts))
    }
}
