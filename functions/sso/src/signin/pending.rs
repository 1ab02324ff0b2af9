//! The pending logins of one browser, stored as a list in one encrypted cookie.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate::base::clock_rng::{ClockRng, Rng, random};
use flexgate::base::seal::{KeyRing, OpenError, Purpose};
use flexgate::domain::ProfileName;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::state::{LoginId, Returned};
use super::{LOGIN_LIFETIME, ReturnTo};

/// The maximum number of pending logins in one browser. One more login replaces the oldest.
const MAX_PENDING: usize = 5;

/// The maximum size of the encrypted cookie value. Browsers still accept a cookie of this size, including its name and
/// attributes. Every part of a login has a limited length, so five logins stay well below this limit. The check is only
/// a safeguard.
const MAX_SEALED: usize = 3_800;

/// One pending login.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) id: LoginId,
    pub(super) profile: Box<str>,
    pub(super) code_verifier: SecretString,
    pub(super) nonce: String,
    pub(super) return_to: Box<str>,
    pub(super) begun_at: OffsetDateTime,
}

/// A login in the form in which the cookie stores it. The field names are short, so that five logins fit into the
/// cookie.
#[derive(Serialize, Deserialize)]
struct Sealed {
    i: u64,
    p: Box<str>,
    v: String,
    n: String,
    r: Box<str>,
    t: i64,
}

impl Pending {
    /// Creates a login. As in Twilio's SDK, the verifier consists of 48 random bytes and the nonce of 24, both in
    /// base64url.
    pub(super) fn begin(profile: &ProfileName, return_to: &ReturnTo, clock_rng: &ClockRng) -> Self {
        Self {
            id: LoginId(u64::from_be_bytes(clock_rng.random())),
            profile: profile.as_str().into(),
            code_verifier: SecretString::from(URL_SAFE_NO_PAD.encode(clock_rng.random::<48>())),
            nonce: URL_SAFE_NO_PAD.encode(clock_rng.random::<24>()),
            return_to: return_to.as_str().into(),
            begun_at: clock_rng.now(),
        }
    }

    fn is_current(&self, now: OffsetDateTime) -> bool {
        // Compare whole seconds, because the cookie stores whole seconds.
        let age = now.unix_timestamp() - self.begun_at.unix_timestamp();
        (0..=LOGIN_LIFETIME.whole_seconds()).contains(&age)
    }
}

/// The pending logins of one browser.
#[derive(Debug, Default)]
pub(super) struct PendingLogins(Vec<Pending>);

impl PendingLogins {
    /// Decrypts the cookie's value. Leaves out expired logins.
    pub(super) fn open(
        sealed: &str,
        keys: &KeyRing,
        purpose: Purpose<'_>,
        now: OffsetDateTime,
    ) -> Result<Self, OpenError> {
        let plain = keys.open(sealed, purpose)?;
        let list: Vec<Sealed> = serde_json::from_slice(&plain).map_err(|_| OpenError)?;
        let pending = list.into_iter().map(|login| {
            Ok(Pending {
                id: LoginId(login.i),
                profile: login.p,
                code_verifier: login.v.into(),
                nonce: login.n,
                return_to: login.r,
                begun_at: OffsetDateTime::from_unix_timestamp(login.t).map_err(|_| OpenError)?,
            })
        });
        let mut pending = pending.collect::<Result<Vec<_>, _>>()?;
        pending.retain(|login| login.is_current(now));
        Ok(Self(pending))
    }

    /// Returns the cookie's value, or `None` if no login is pending.
    pub(super) fn seal(
        &self,
        keys: &KeyRing,
        purpose: Purpose<'_>,
        rng: &dyn Rng,
    ) -> Result<Option<String>, OpenError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let list: Vec<_> = self.0.iter().map(Sealed::of).collect();
        let plain = serde_json::to_vec(&list).map_err(|_| OpenError)?;
        let sealed = keys.seal(&plain, purpose, rng)?;
        if sealed.len() > MAX_SEALED { Err(OpenError) } else { Ok(Some(sealed)) }
    }

    /// Adds a login. If there are then more than five, drops the oldest.
    pub(super) fn push(&mut self, login: Pending) {
        self.0.push(login);
        let surplus = self.0.len().saturating_sub(MAX_PENDING);
        self.0.drain(..surplus);
    }

    /// Whether a login of `profile` is pending.
    pub(super) fn any_of(&self, profile: &ProfileName) -> bool {
        self.0.iter().any(|login| *login.profile == *profile.as_str())
    }

    /// Removes and returns the login that a callback of `profile` with this `state` completes.
    pub(super) fn take(&mut self, profile: &ProfileName, state: Returned) -> Option<Pending> {
        let of_profile = |login: &Pending| *login.profile == *profile.as_str();
        let index = match state {
            Returned::Login(id) => self.0.iter().position(|login| login.id == id && of_profile(login)),
            // If several logins are pending and `state` contains no number, take the newest login. If that is the wrong
            // one, Twilio refuses the code, because the verifier does not match.
            Returned::Unnumbered => self.0.iter().rposition(of_profile),
            Returned::Foreign => None,
        };
        index.map(|index| self.0.remove(index))
    }
}

impl Sealed {
    fn of(login: &Pending) -> Self {
        Self {
            i: login.id.0,
            p: login.profile.clone(),
            v: login.code_verifier.expose_secret().to_owned(),
            n: login.nonce.clone(),
            r: login.return_to.clone(),
            t: login.begun_at.unix_timestamp(),
        }
    }
}

/// Generates the identifier of a new session: 256 random bits in base64url.
pub(super) fn session_id(rng: &dyn Rng) -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(random::<32>(rng)))
}
