//! Begins a login, and completes the login at the callback.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::{FlexUserSid, SsoProfile};
use flexgate::telemetry;
use flexgate::twilio::{Authorization, SsoConfiguration, TwilioError};
use secrecy::{ExposeSecret, SecretString};
use time::Duration;
use url::Url;

use super::pending::{LoginCookie, LoginKeys, MAX_PENDING, Pending, ReturnAddress};
use super::state::{self, LoginId, Returned};
use super::{Fault, LOGIN_LIFETIME, ReturnTo, SignIn, Visitor};

/// The maximum number of codes that Flexgate sends to Twilio for one login. This limit applies only to callbacks that
/// do not contain the login's number.
const UNNUMBERED_AT_MOST: u8 = 3;

/// What the identity provider should ask a person who is already signed in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// To sign in again.
    Login,
    /// To choose an account.
    SelectAccount,
}

/// The text is not one of the allowed prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be login or select_account")]
pub struct PromptError;

impl FromStr for Prompt {
    type Err = PromptError;

    fn from_str(text: &str) -> Result<Self, PromptError> {
        match text {
            "login" => Ok(Self::Login),
            "select_account" => Ok(Self::SelectAccount),
            _ => Err(PromptError),
        }
    }
}

impl Prompt {
    fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::SelectAccount => "select_account",
        }
    }
}

/// A login that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where to send the browser.
    pub location: Url,
    pub id: LoginId,
    pub cookie: String,
}

/// A login that is complete.
#[derive(Debug)]
pub struct Completed {
    /// Where to send the browser.
    pub location: ReturnTo,
    pub session_id: SecretString,
    pub login: LoginId,
    /// Who signed in.
    pub flex_user_sid: FlexUserSid,
    /// The longest time that the session lasts.
    pub lasts: Duration,
}

/// Why a callback fails.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// This browser has no pending login that matches the callback. The login may have expired, may be complete, or may
    /// belong to another browser.
    #[error("no login of this browser belongs to the callback")]
    NoLogin,
    /// Twilio refuses the code for this login. The code may belong to another pending login of this browser.
    #[error("the code does not belong to the login of its state")]
    Mixed(#[source] TwilioError),
    /// Twilio refuses the code for this login, and the browser has no other pending login of this profile.
    #[error("Twilio does not accept the code")]
    Rejected(#[source] TwilioError),
    /// The identity provider or Twilio refused the person.
    #[error("the identity provider or Twilio answered with an error: {0}")]
    Declined(Decline),
    /// A source has reported the person as inactive.
    #[error("the person is inactive, though Twilio's SSO signed them in")]
    Inactive,
    /// The login began before the person's sessions were ended, or before all sessions were ended.
    #[error("the login began before the person was signed out everywhere")]
    SignedOut,
    #[error("sign-in is not possible")]
    Fault(#[from] Fault),
}

/// Which kind of error the callback contained instead of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decline {
    /// `access_denied`: the person cancelled, or is not allowed to sign in. The error does not say which.
    Denied,
    /// Any other error, such as `temporarily_unavailable`.
    Failed,
}

impl Decline {
    /// Classifies the parameter `error` of a callback (RFC 6749 §4.1.2.1).
    #[must_use]
    pub fn of(unverified_error: &str) -> Self {
        if unverified_error == "access_denied" { Self::Denied } else { Self::Failed }
    }
}

impl fmt::Display for Decline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "access_denied",
            Self::Failed => "another error than access_denied",
        })
    }
}

impl From<TwilioError> for CallbackError {
    fn from(error: TwilioError) -> Self {
        Self::Fault(error.into())
    }
}

/// A callback that signs nobody in.
#[derive(Debug)]
pub struct Failed {
    pub error: CallbackError,
    /// The login that this callback ended, if there is one. The response must clear the login's cookie.
    pub spent: Option<LoginId>,
}

/// The login to which a callback belongs.
pub(super) struct Found {
    pub(super) login: Pending,
    /// Whether the callback's `state` contains the login's number. Without the number, the callback may be forged.
    is_numbered: bool,
    /// Whether the browser has other pending logins of this profile.
    pub(super) has_others: bool,
    /// The browser.
    pub(super) visitor: Visitor,
}

impl SignIn {
    pub async fn begin(
        &self,
        profile: &SsoProfile,
        configuration: &SsoConfiguration,
        return_to: &ReturnTo,
        prompt: Option<Prompt>,
        deadline: Deadline,
    ) -> Result<Begun, Fault> {
        let keys = &self.parts.keys.get(deadline).await?.value;
        let keys = self.login_keys(&profile.name, keys);
        let (login, cookie) = keys.begin(return_to.as_str(), &self.parts.clock_rng).map_err(|_| Fault::Seal)?;
        if login.return_to == ReturnAddress::InStore {
            self.keep_address(keys, login.id, return_to).await;
        }
        let redirect_url = self.redirect_url(&profile.name);
        let authorization = Authorization {
            redirect_url: &redirect_url,
            nonce: &login.nonce,
            code_verifier: &login.code_verifier,
            state: &state::write(&configuration.client_id, &redirect_url, login.id),
            prompt: prompt.map(Prompt::as_str),
        };
        Ok(Begun { location: self.parts.sso.authorize_url(&profile.sid, &authorization), id: login.id, cookie })
    }

    /// Stores a login's return address. If this fails, the login ends at the default address.
    async fn keep_address(&self, keys: LoginKeys<'_>, id: LoginId, return_to: &ReturnTo) {
        let Ok(sealed) = keys.seal_address(id, return_to.as_str(), self.parts.clock_rng.rng.as_ref()) else { return };
        let now = self.now();
        let kept = self.parts.return_addresses.keep_address(&id.to_string(), sealed, now, now + LOGIN_LIFETIME).await;
        if let Err(error) = kept {
            tracing::warn!(error = %error, "the return address of a login is lost");
        }
    }

    /// Returns a login's return address. If the stored address is lost or no longer allowed, returns the default
    /// address.
    pub(super) async fn address(&self, keys: LoginKeys<'_>, login: &Pending) -> ReturnTo {
        let unverified = match &login.return_to {
            ReturnAddress::InCookie(text) => Some(text.to_string()),
            ReturnAddress::InStore => {
                let stored = self.parts.return_addresses.address_of(&login.id.to_string()).await;
                let stored = stored.inspect_err(|error| {
                    tracing::warn!(error = %error, "the return address of a login cannot be read");
                });
                stored.ok().flatten().and_then(|sealed| keys.open_address(login.id, &sealed).ok())
            }
        };
        let destinations = self.destinations();
        let parsed = unverified.and_then(|text| destinations.parse(&text).ok());
        parsed.unwrap_or_else(|| destinations.default().clone())
    }

    /// Completes a login: finds the login by the cookies and `state`, exchanges the code, and stores a session. Ends
    /// the browser's previous session.
    pub async fn complete(
        self: &Arc<Self>,
        profile: &SsoProfile,
        cookies: &[LoginCookie<'_>],
        unverified_state: &str,
        unverified_code: &SecretString,
        visitor: Visitor,
        deadline: Deadline,
    ) -> Result<Completed, Failed> {
        let unspent = |fault: Fault| Failed { error: fault.into(), spent: None };
        let keys = self.keys_for(cookies.iter().map(|cookie| cookie.sealed), deadline).await.map_err(unspent)?;
        let mut found = self.find(profile, cookies, unverified_state, &keys.value)?;
        found.visitor = visitor;
        let (id, is_numbered) = (found.login.id, found.is_numbered);
        let is_first = self.claim(&found, unverified_code).await.map_err(unspent)?;
        let completed = if is_first {
            // The code is valid only once, so store the result even if the client disconnects.
            let (this, profile, code) = (self.clone(), profile.clone(), unverified_code.clone());
            let sign_in = async move { this.sign_in(&profile, &found, &code, &keys.value, deadline).await };
            telemetry::detached(sign_in).await
        } else {
            Err(CallbackError::NoLogin)
        };
        completed.map_err(|error| Failed { error, spent: is_numbered.then_some(id) })
    }

    /// Returns the login's number from a callback's `state`. Returns `None` if the `state` contains no such number.
    #[must_use]
    pub fn login_of(&self, profile: &SsoProfile, unverified_state: &str) -> Option<LoginId> {
        match state::read(unverified_state, &self.redirect_url(&profile.name)) {
            Returned::Login(id) => Some(id),
            Returned::Unnumbered | Returned::Foreign => None,
        }
    }

    /// Returns the failure for a callback that contains an error instead of a code. The failure is `Declined` only if
    /// the callback belongs to a pending login, because anybody can write an error into the URL.
    pub async fn declined(
        &self,
        profile: &SsoProfile,
        cookies: &[LoginCookie<'_>],
        unverified_state: &str,
        decline: Decline,
        deadline: Deadline,
    ) -> Failed {
        let keys = match self.keys_for(cookies.iter().map(|cookie| cookie.sealed), deadline).await {
            Ok(keys) => keys,
            Err(fault) => return Failed { error: fault.into(), spent: None },
        };
        // Do not end the login, because the person may go back and sign in after all.
        let found = self.find(profile, cookies, unverified_state, &keys.value);
        found.map_or_else(|failed| failed, |_| Failed { error: CallbackError::Declined(decline), spent: None })
    }

    /// If the browser has more than eight pending logins, returns the oldest ones, so that eight remain. `begun` is the
    /// number of logins that the response itself adds. A cookie that Flexgate cannot open counts as the oldest.
    pub async fn surplus(&self, cookies: &[LoginCookie<'_>], begun: usize, deadline: Deadline) -> Vec<LoginId> {
        let count = (cookies.len() + begun).saturating_sub(MAX_PENDING);
        if count == 0 {
            return Vec::new();
        }
        let Ok(keys) = self.parts.keys.get(deadline).await else { return Vec::new() };
        let opened = |cookie: &LoginCookie<'_>| {
            let of_profile = |profile: &SsoProfile| self.login_keys(&profile.name, &keys.value).open(*cookie).ok();
            self.parts.profiles.iter().find_map(of_profile).map(|login| login.begun_at)
        };
        let mut by_age: Vec<_> = cookies.iter().map(|cookie| (opened(cookie), cookie.id)).collect();
        by_age.sort_by_key(|(begun_at, _)| *begun_at);
        by_age.into_iter().take(count).map(|(_, id)| id).collect()
    }

    fn find(
        &self,
        profile: &SsoProfile,
        cookies: &[LoginCookie<'_>],
        unverified_state: &str,
        keys: &KeyRing,
    ) -> Result<Found, Failed> {
        let none = |spent| Failed { error: CallbackError::NoLogin, spent };
        let (keys, now) = (self.login_keys(&profile.name, keys), self.now());
        let open = |cookie: &LoginCookie<'_>| keys.open(*cookie).ok().filter(|login| login.is_current(now));
        let mut logins: Vec<Pending> = cookies.iter().filter_map(open).collect();
        let (index, is_numbered) = match state::read(unverified_state, &self.redirect_url(&profile.name)) {
            Returned::Login(id) => {
                // Keep a cookie that this process cannot decrypt, because another process may have the key.
                let is_expired = |cookie: &LoginCookie<'_>| cookie.id == id && keys.open(*cookie).is_ok();
                let spent = cookies.iter().any(is_expired).then_some(id);
                (logins.iter().position(|login| login.id == id).ok_or_else(|| none(spent))?, true)
            }
            // Without a number in `state`, use the newest login. If it is the wrong login, Twilio refuses the code.
            Returned::Unnumbered => {
                // Browsers send older cookies first.
                logins.reverse();
                logins.sort_by_key(|login| Reverse(login.begun_at));
                (0, false)
            }
            Returned::Foreign => return Err(none(None)),
        };
        if index >= logins.len() {
            return Err(none(None));
        }
        let login = logins.swap_remove(index);
        Ok(Found { login, is_numbered, has_others: !logins.is_empty(), visitor: Visitor::default() })
    }

    /// Marks the code and the login as used. If several identical callbacks arrive, only one of them gets `true` here
    /// and sends the code to Twilio.
    ///
    /// A callback whose `state` lacks the login's number may be forged. Such a callback uses up only its own code, not
    /// the pending login. Flexgate accepts only a few of them for each login, because each sends a request to Twilio.
    async fn claim(&self, found: &Found, unverified_code: &SecretString) -> Result<bool, Fault> {
        let now = self.now();
        let until = now + LOGIN_LIFETIME;
        let once_only = &self.parts.once_only;
        if !once_only.claim("code", unverified_code.expose_secret(), now, until).await? {
            return Ok(false);
        }
        let id = found.login.id;
        if found.is_numbered {
            return Ok(once_only.claim("login", &id.to_string(), now, until).await?);
        }
        for attempt in 0..UNNUMBERED_AT_MOST {
            if once_only.claim("login attempt", &format!("{id} {attempt}"), now, until).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
