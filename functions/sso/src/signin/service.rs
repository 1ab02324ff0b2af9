//! Begins a login, and completes it at the callback.

use std::collections::BTreeMap;
use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::base::seal::{KeyRing, OpenError, Purpose};
use flexgate::domain::{FlexUserSid, ProfileName, SsoProfile, SsoProfiles, Username};
use flexgate::secrets::CachedSecret;
use flexgate::store::{Deactivations, EventQueue, Message, OnceOnly, Session, SessionKey, Sessions};
use flexgate::twilio::{Authorization, Sso, SsoConfiguration, SsoTokens, TokenInfo, TwilioError};
use secrecy::SecretString;
use time::OffsetDateTime;
use url::Url;

use super::configuration::Configured;
use super::pending::{Pending, PendingLogins, session_id};
use super::state::{self, LoginId};
use super::tokens::Tokens;
use super::{Fault, LOGIN_COOKIE, LOGIN_LIFETIME, Lifetimes, ReturnTo};

/// The parts of sign-in.
#[derive(Debug)]
pub struct SignInParts {
    /// The profiles with which people may sign in.
    pub profiles: SsoProfiles,
    /// Flexgate's public URL. Callbacks, the login cookie and `return_to` must stay on its origin.
    pub public_url: Url,
    /// How long sessions live.
    pub lifetimes: Lifetimes,
    /// Twilio, without a credential.
    pub sso: Sso,
    /// The cookie keys.
    pub keys: CachedSecret<KeyRing>,
    /// The sessions.
    pub sessions: Arc<dyn Sessions>,
    /// Makes sure that each login is completed only once.
    pub once_only: Arc<dyn OnceOnly>,
    /// Tells which people are inactive. This is needed because Twilio's SSO may have reactivated their Flex users.
    pub deactivations: Arc<dyn Deactivations>,
    /// The queue for jobs. A job deactivates a Flex user again after Twilio's SSO has reactivated it.
    pub queue: Arc<dyn EventQueue>,
    /// The clock and the random number generator.
    pub clock_rng: ClockRng,
}

/// Signing in, and staying signed in.
#[derive(Debug)]
pub struct SignIn {
    pub(super) parts: SignInParts,
    profiles: BTreeMap<ProfileName, Configured>,
    origin: String,
}

/// A login that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where to send the browser.
    pub location: Url,
    /// The login cookie's value.
    pub cookie: String,
}

/// A login that is complete.
#[derive(Debug)]
pub struct Completed {
    /// Where to send the browser: a path on Flexgate's origin.
    pub location: Box<str>,
    /// The session cookie's value.
    pub session_id: SecretString,
    /// The new value of the login cookie, if other logins of this browser are still pending.
    pub cookie: Option<String>,
    /// Who signed in.
    pub flex_user_sid: FlexUserSid,
}

/// Why a callback signs nobody in.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// The callback matches no pending login of this browser. The login began in another browser, began too long ago,
    /// or is already finished.
    #[error("no login of this browser belongs to the callback")]
    NoLogin,
    /// Twilio does not accept the code for this login. But the browser has another pending login for the same profile,
    /// and the code may belong to that one.
    #[error("the code does not belong to the login of its state")]
    Mixed(#[source] TwilioError),
    /// Twilio does not accept the code together with this login's verifier and nonce.
    #[error("Twilio does not accept the code")]
    Rejected(#[source] TwilioError),
    /// The person has left: a source says that they are inactive.
    #[error("the person is inactive, though Twilio's SSO signed them in")]
    Inactive,
    /// A dependency of sign-in fails.
    #[error("sign-in is not possible")]
    Fault(#[from] Fault),
}

impl From<TwilioError> for CallbackError {
    fn from(error: TwilioError) -> Self {
        Self::Fault(error.into())
    }
}

impl SignIn {
    /// Builds sign-in from its parts, without sending or reading anything.
    #[must_use]
    pub fn new(parts: SignInParts) -> Self {
        let profiles = parts.profiles.iter().cloned();
        let profiles = profiles.map(|profile| (profile.name.clone(), Configured::new(profile))).collect();
        let origin = parts.public_url.origin().ascii_serialization();
        Self { parts, profiles, origin }
    }

    /// Reads the cookie keys before the first request needs them. If that fails, the first request reads them.
    pub async fn prewarm(&self, deadline: Deadline) {
        let _read = self.parts.keys.get(deadline).await;
    }

    /// The profile of that name.
    #[must_use]
    pub fn profile(&self, unverified_name: &str) -> Option<&SsoProfile> {
        self.parts.profiles.get(unverified_name)
    }

    /// The clock.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.parts.clock_rng.now()
    }

    /// Flexgate's own origin, as a URL.
    #[must_use]
    pub fn public_url(&self) -> &Url {
        &self.parts.public_url
    }

    /// How long sessions live.
    #[must_use]
    pub fn lifetimes(&self) -> Lifetimes {
        self.parts.lifetimes
    }

    /// Returns the active configuration of a profile, or `None` if Twilio has none.
    pub async fn configuration(
        &self,
        profile: &SsoProfile,
        deadline: Deadline,
    ) -> Result<Option<SsoConfiguration>, Fault> {
        let Some(configured) = self.profiles.get(&profile.name) else { return Ok(None) };
        Ok(configured.get(&self.parts.sso, self.now(), deadline).await?)
    }

    /// Begins a login. `cookie` is the value of the browser's login cookie, if it has one. If the value cannot be
    /// decrypted, a new cookie replaces it.
    pub async fn begin(
        &self,
        profile: &SsoProfile,
        configuration: &SsoConfiguration,
        return_to: &ReturnTo,
        cookie: Option<&str>,
        deadline: Deadline,
    ) -> Result<Begun, Fault> {
        let keys = &self.parts.keys.get(deadline).await?.value;
        let login = Pending::begin(&profile.name, return_to, &self.parts.clock_rng);
        let redirect_url = self.redirect_url(&profile.name);
        let state = state::write(&configuration.client_id, &redirect_url, login.id);
        let location = self.parts.sso.authorize_url(
            &profile.sid,
            &Authorization {
                redirect_url: &redirect_url,
                nonce: &login.nonce,
                code_verifier: &login.code_verifier,
                state: &state,
            },
        );
        let mut logins = cookie.and_then(|sealed| self.open(sealed, keys).ok()).unwrap_or_default();
        logins.push(login);
        let cookie = self.seal(&logins, keys)?.ok_or(Fault::Seal)?;
        Ok(Begun { location, cookie })
    }

    /// Completes a login. Finds the login by the browser's cookie and the returned `state`, sends the code to Twilio
    /// exactly once, lets Twilio confirm the token, and stores a session.
    pub async fn complete(
        &self,
        profile: &SsoProfile,
        cookie: Option<&str>,
        unverified_state: &str,
        unverified_code: &SecretString,
        deadline: Deadline,
    ) -> Result<Completed, CallbackError> {
        let keys = &self.parts.keys.get(deadline).await.map_err(Fault::from)?.value;
        let mut logins = cookie.and_then(|sealed| self.open(sealed, keys).ok()).ok_or(CallbackError::NoLogin)?;
        let returned = state::read(unverified_state, &self.redirect_url(&profile.name));
        let login = logins.take(&profile.name, returned).ok_or(CallbackError::NoLogin)?;
        self.claim(login.id).await?;

        let tokens = self.exchange(profile, &login, unverified_code, deadline).await.map_err(|error| match error {
            CallbackError::Rejected(error) if logins.any_of(&profile.name) => CallbackError::Mixed(error),
            error => error,
        })?;
        let info = self.parts.sso.token_info(&tokens.access_token, deadline).await?;
        if info.flex_user_sid != tokens.info.flex_user_sid || info.expiration <= self.now() {
            return Err(TwilioError::Malformed("Tokens/Info disagrees with the exchange").into());
        }
        // Refuse people who have left. Twilio's SSO does not refuse them: it creates or reactivates the Flex user of
        // every person whom the identity provider lets in.
        let username = info.username.as_deref().and_then(|name| name.parse::<Username>().ok());
        let username = username.map(|username| username.key());
        let inactive = self.parts.deactivations.says_inactive(Some(&info.flex_user_sid), username.as_ref()).await;
        if inactive.map_err(Fault::from)? {
            self.have_deactivated(info.flex_user_sid).await;
            return Err(CallbackError::Inactive);
        }
        let session_id = self.keep(profile, &tokens, &info, keys).await?;
        Ok(Completed {
            location: login.return_to,
            session_id,
            cookie: self.seal(&logins, keys)?,
            flex_user_sid: info.flex_user_sid,
        })
    }

    /// Queues a job that deactivates a person who has left and whom Twilio's SSO has reactivated. If this fails, the
    /// next sweep finds the person. The queue accepts one such job per person and minute, no matter how often the
    /// person tries to sign in.
    async fn have_deactivated(&self, user: FlexUserSid) {
        let now = self.now();
        let cause = format!("sign-in:{}", now.unix_timestamp().div_euclid(60));
        let job = Message::Reconcile { user, cause, left: None };
        if let Err(error) = self.parts.queue.send(&[job], now).await {
            tracing::warn!(error = %error, "a leaver who signed in was not queued for deactivation; a sweep finds them");
        }
    }

    /// Whether this browser began the login to which `unverified_state` belongs. Callbacks with an error instead of a
    /// code need this check.
    pub async fn began(
        &self,
        profile: &SsoProfile,
        cookie: Option<&str>,
        unverified_state: &str,
        deadline: Deadline,
    ) -> Result<bool, Fault> {
        let keys = &self.parts.keys.get(deadline).await?.value;
        let Some(mut logins) = cookie.and_then(|sealed| self.open(sealed, keys).ok()) else { return Ok(false) };
        let returned = state::read(unverified_state, &self.redirect_url(&profile.name));
        Ok(logins.take(&profile.name, returned).is_some())
    }

    /// Records in the store that this login is used. Several identical callbacks may arrive, even at the same time in
    /// two processes. Only the first of them succeeds here and sends the code to Twilio.
    async fn claim(&self, id: LoginId) -> Result<(), CallbackError> {
        let now = self.now();
        let once_only = &self.parts.once_only;
        let first =
            once_only.claim("login", &id.0.to_string(), now, now + LOGIN_LIFETIME).await.map_err(Fault::from)?;
        if first { Ok(()) } else { Err(CallbackError::NoLogin) }
    }

    async fn exchange(
        &self,
        profile: &SsoProfile,
        login: &Pending,
        unverified_code: &SecretString,
        deadline: Deadline,
    ) -> Result<SsoTokens, CallbackError> {
        let sso = &self.parts.sso;
        let exchanged = sso.exchange(&profile.sid, unverified_code, &login.code_verifier, &login.nonce, deadline).await;
        exchanged.map_err(|error| match error {
            TwilioError::Refused(_) | TwilioError::NotFound(_) => CallbackError::Rejected(error),
            other => other.into(),
        })
    }

    async fn keep(
        &self,
        profile: &SsoProfile,
        tokens: &SsoTokens,
        info: &TokenInfo,
        keys: &KeyRing,
    ) -> Result<SecretString, Fault> {
        use secrecy::ExposeSecret as _;
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

    /// Returns the callback's URL, which must be one of Twilio's Trusted URLs. It comes from the settings, never from a
    /// request.
    #[must_use]
    pub fn redirect_url(&self, profile: &ProfileName) -> String {
        format!("{}/sso/{profile}/callback", self.origin)
    }

    fn open(&self, sealed: &str, keys: &KeyRing) -> Result<PendingLogins, OpenError> {
        PendingLogins::open(sealed, keys, Purpose(&[LOGIN_COOKIE, &self.origin]), self.now())
    }

    fn seal(&self, logins: &PendingLogins, keys: &KeyRing) -> Result<Option<String>, Fault> {
        let purpose = Purpose(&[LOGIN_COOKIE, &self.origin]);
        logins.seal(keys, purpose, self.parts.clock_rng.rng.as_ref()).map_err(|_| Fault::Seal)
    }
}
