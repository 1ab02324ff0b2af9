//! Begins a login, and completes it at the callback.

use std::cmp::Reverse;
use std::str::FromStr;
use std::sync::Arc;

use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::{FlexUserSid, SsoProfile};
use flexgate::store::SessionKey;
use flexgate::telemetry;
use flexgate::twilio::{Authorization, SsoConfiguration, TwilioError};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::pending::{LoginCookie, LoginKeys, MAX_PENDING, Pending, ReturnAddress};
use super::state::{self, LoginId, Returned};
use super::{Fault, LOGIN_LIFETIME, ReturnTo, SignIn};

/// How many callbacks without a number may send a code to Twilio for one login.
const UNNUMBERED_AT_MOST: u8 = 3;

/// What the identity provider should ask the person, even if they are signed in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// To sign in again.
    Login,
    /// To choose an account.
    SelectAccount,
}

/// The text is not a prompt that Flexgate passes on.
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
    /// The login's number.
    pub id: LoginId,
    /// The login cookie's value.
    pub cookie: String,
}

/// A login that is complete.
#[derive(Debug)]
pub struct Completed {
    /// Where to send the browser.
    pub location: ReturnTo,
    /// The session cookie's value.
    pub session_id: SecretString,
    /// The login's number.
    pub login: LoginId,
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
    /// The identity provider or Twilio refused to sign the person in.
    #[error("the identity provider refused")]
    Declined,
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

/// A callback that signs nobody in.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: CallbackError,
    /// The login whose cookie is now useless, if there is one.
    pub spent: Option<LoginId>,
}

/// The login to which a callback belongs.
pub(super) struct Found {
    pub(super) login: Pending,
    /// Whether the callback's `state` contains the login's number. Otherwise somebody else may have sent the browser
    /// here.
    is_numbered: bool,
    /// Whether the browser has other pending logins of the same profile.
    pub(super) has_others: bool,
    /// The session that the browser had before.
    pub(super) earlier_session: Option<SessionKey>,
}

impl SignIn {
    /// Begins a login.
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

    /// Stores the return address of a login. If that fails, the login goes on, and ends at the default address.
    async fn keep_address(&self, keys: LoginKeys<'_>, id: LoginId, return_to: &ReturnTo) {
        let Ok(sealed) = keys.seal_address(id, return_to.as_str(), self.parts.clock_rng.rng.as_ref()) else { return };
        let now = self.now();
        let kept = self.parts.return_addresses.keep_address(&id.to_string(), sealed, now, now + LOGIN_LIFETIME).await;
        if let Err(error) = kept {
            tracing::warn!(error = %error, "the return address of a login is lost");
        }
    }

    /// Returns the return address of a login. If it is lost or no longer allowed, returns the default address.
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

    /// Completes a login. Finds the login by the browser's cookies and the returned `state`, sends the code to Twilio,
    /// and stores a session. Ends the session `earlier_session_id`, which the browser had before.
    pub async fn complete(
        self: &Arc<Self>,
        profile: &SsoProfile,
        cookies: &[LoginCookie<'_>],
        unverified_state: &str,
        unverified_code: &SecretString,
        earlier_session_id: Option<&str>,
        deadline: Deadline,
    ) -> Result<Completed, Failed> {
        let unspent = |fault: Fault| Failed { error: fault.into(), spent: None };
        let keys = self.keys_for(cookies.iter().map(|cookie| cookie.sealed), deadline).await.map_err(unspent)?;
        let mut found = self.find(profile, cookies, unverified_state, &keys.value)?;
        found.earlier_session = earlier_session_id.map(SessionKey::of);
        let (id, is_numbered) = (found.login.id, found.is_numbered);
        let is_first = self.claim(&found, unverified_code).await.map_err(unspent)?;
        let completed = if is_first {
            // The code is valid only once. So what it brings must be stored, even if the client goes away.
            let (this, profile, code) = (self.clone(), profile.clone(), unverified_code.clone());
            let sign_in = async move { this.sign_in(&profile, &found, &code, &keys.value, deadline).await };
            telemetry::detached(sign_in).await
        } else {
            Err(CallbackError::NoLogin)
        };
        completed.map_err(|error| Failed { error, spent: is_numbered.then_some(id) })
    }

    /// The login whose number is in a returned `state`.
    #[must_use]
    pub fn login_of(&self, profile: &SsoProfile, unverified_state: &str) -> Option<LoginId> {
        match state::read(unverified_state, &self.redirect_url(&profile.name)) {
            Returned::Login(id) => Some(id),
            Returned::Unnumbered | Returned::Foreign => None,
        }
    }

    /// Returns why a callback with an error instead of a code signs nobody in. Only the browser that began the login
    /// learns that the identity provider refused, because anybody can put any error into the URL.
    pub async fn declined(
        &self,
        profile: &SsoProfile,
        cookies: &[LoginCookie<'_>],
        unverified_state: &str,
        deadline: Deadline,
    ) -> Failed {
        let keys = match self.keys_for(cookies.iter().map(|cookie| cookie.sealed), deadline).await {
            Ok(keys) => keys,
            Err(fault) => return Failed { error: fault.into(), spent: None },
        };
        // The login stays pending: the person may go back, and choose to sign in after all.
        let found = self.find(profile, cookies, unverified_state, &keys.value);
        found.map_or_else(|failed| failed, |_| Failed { error: CallbackError::Declined, spent: None })
    }

    /// Returns the logins that the browser should forget: the oldest, so that it has at most eight together with the
    /// `begun` logins that the response begins. Cookies that Flexgate cannot open count as the oldest.
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
                // A cookie that does not open stays: another process may have its key.
                let is_expired = |cookie: &LoginCookie<'_>| cookie.id == id && keys.open(*cookie).is_ok();
                let spent = cookies.iter().any(is_expired).then_some(id);
                (logins.iter().position(|login| login.id == id).ok_or_else(|| none(spent))?, true)
            }
            // If `state` contains no number, take the newest login. If that is the wrong one, Twilio refuses the code,
            // because the verifier does not match.
            Returned::Unnumbered => {
                // Browsers send the older of two cookies first.
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
        Ok(Found { login, is_numbered, has_others: !logins.is_empty(), earlier_session: None })
    }

    /// Records in the store that this login and this code are used. Several identical callbacks may arrive, even at the
    /// same time in two processes. This returns true for only one of them, which then sends the code to Twilio.
    ///
    /// Anybody can send a browser to a callback whose `state` contains no number. Such a callback does not use the login
    /// up, so it cannot spoil a login that is still under way. There may be only a few of them per login, because each
    /// sends a request to Twilio.
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
