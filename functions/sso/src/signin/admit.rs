//! Completes a sign-in: exchanges the code, stores a session, and refuses people who have left.

use std::time::Duration;

use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::{FlexUserSid, SsoProfile, Username};
use flexgate::store::{Message, Session, SessionKey};
use flexgate::twilio::{SsoTokens, TokenInfo, TwilioError};
use secrecy::{ExposeSecret, SecretString};

use super::login::{CallbackError, Completed, Found};
use super::pending::session_id;
use super::tokens::Tokens;
use super::{Fault, SignIn};

/// The time limit for Tokens/Info after an exchange. It is short, because the sign-in can succeed without the answer.
const INFO_AT_MOST: Duration = Duration::from_secs(2);

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
            TwilioError::Refused(_) | TwilioError::NotFound(_) if found.has_others => CallbackError::Mixed(error),
            TwilioError::Refused(_) | TwilioError::NotFound(_) => CallbackError::Rejected(error),
            other => other.into(),
        })?;
        let info = self.information(&tokens, deadline).await?;
        let session_id = self.keep(profile, &tokens, &info, keys).await?;
        self.refuse_leaver(&info, &session_id).await?;
        let location = self.address(self.login_keys(&profile.name, keys), login).await;
        Ok(Completed { location, session_id, login: login.id, flex_user_sid: info.flex_user_sid })
    }

    /// Reads the new token's details from Tokens/Info, including the worker. If Tokens/Info fails, returns the
    /// exchange's details without the worker. If the two answers contradict each other, returns an error.
    async fn information(&self, tokens: &SsoTokens, deadline: Deadline) -> Result<TokenInfo, TwilioError> {
        let exchanged = &tokens.info;
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

    /// Refuses a person who has left, and ends that person's new session. Twilio's SSO may have reactivated the Flex
    /// user.
    ///
    /// This check follows the insertion of the session. So a simultaneous deactivation is either noticed here or ends
    /// the session.
    async fn refuse_leaver(&self, info: &TokenInfo, session_id: &SecretString) -> Result<(), CallbackError> {
        let username = info.username.as_deref().and_then(|name| name.parse::<Username>().ok());
        let username = username.map(|username| username.key());
        let says_inactive = self.parts.deactivations.says_inactive(Some(&info.flex_user_sid), username.as_ref()).await;
        let error = match says_inactive {
            Ok(false) => return Ok(()),
            Ok(true) => CallbackError::Inactive,
            Err(error) => Fault::from(error).into(),
        };
        let ended = self.parts.sessions.end(&SessionKey::of(session_id.expose_secret())).await;
        if let Err(error) = ended {
            tracing::warn!(error = %error, "a session that nobody received was not ended; it ends when idle");
        }
        if matches!(error, CallbackError::Inactive) {
            self.have_deactivated(info.flex_user_sid.clone()).await;
        }
        Err(error)
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

    async fn keep(
        &self,
        profile: &SsoProfile,
        tokens: &SsoTokens,
        info: &TokenInfo,
        keys: &KeyRing,
    ) -> Result<SecretString, Fault> {
        let now = self.now();
        let session_id = session_id(self.parts.clock_rng.rng.as_ref());
        let key = SessionKey::of(session_id.expose_secret());
        let sealed = Tokens::of(tokens, info, now).seal(&key, keys, self.parts.clock_rng.rng.as_ref())?;
        let sessions = &self.parts.sessions;
        sessions.sweep(now).await?;
        sessions
            .insert(Session {
                key,
                profile: profile.name.clone(),
                flex_user_sid: info.flex_user_sid.clone(),
                sealed,
                version: 0,
                created_at: now,
                used_at: now,
                ends_at: now + self.parts.lifetimes.absolute,
            })
            .await?;
        Ok(session_id)
    }
}
