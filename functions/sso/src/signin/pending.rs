//! Pending logins. Each login has a separate encrypted cookie, so that several tabs can sign in at once.
//!
//! The cookie contains the time at which the login began, and the return address if it is short enough. The login's
//! secrets are derived from the login's number. A cookie is at most 150 bytes, because API Gateway allows only 10,240
//! bytes for all headers of a request.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate::authn::LEEWAY;
use flexgate::base::clock_rng::{ClockRng, Rng, random};
use flexgate::base::seal::{KeyRing, OpenError, Purpose};
use flexgate::domain::ProfileName;
use secrecy::SecretString;
use time::OffsetDateTime;

use super::state::LoginId;
use super::{LOGIN_COOKIE, LOGIN_LIFETIME};

/// The maximum number of pending logins per browser. Flexgate clears the oldest cookies above this number.
pub(super) const MAX_PENDING: usize = 8;

/// The maximum size of a login cookie in bytes, including the name.
const MAX_COOKIE: usize = 150;

/// A login cookie from a browser, not verified yet.
#[derive(Debug, Clone, Copy)]
pub struct LoginCookie<'a> {
    /// The login's number, from the cookie's name.
    pub id: LoginId,
    /// The cookie's value.
    pub sealed: &'a str,
}

/// One pending login.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: LoginId,
    pub(super) code_verifier: SecretString,
    pub(super) nonce: String,
    pub(super) begun_at: OffsetDateTime,
    pub(super) return_to: ReturnAddress,
}

/// The place where a login's return address is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReturnAddress {
    /// In the cookie.
    InCookie(Box<str>),
    /// In the store, because the address is too long for the cookie.
    InStore,
}

/// The keys for the login cookies of one profile.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoginKeys<'a> {
    pub(super) keys: &'a KeyRing,
    pub(super) origin: &'a str,
    pub(super) profile: &'a ProfileName,
}

impl LoginKeys<'_> {
    /// Begins a login. Returns the login and the value of its cookie.
    pub(super) fn begin(self, return_to: &str, clock_rng: &ClockRng) -> Result<(Pending, String), OpenError> {
        let id = LoginId(u64::from_be_bytes(clock_rng.random()));
        let begun_at = clock_rng.now();
        let rng = clock_rng.rng.as_ref();
        let mut sealed = self.seal(id, begun_at, return_to, rng)?;
        let mut return_to = ReturnAddress::InCookie(return_to.into());
        if id.cookie_name().len() + 1 + sealed.len() > MAX_COOKIE {
            sealed = self.seal(id, begun_at, "", rng)?;
            return_to = ReturnAddress::InStore;
        }
        Ok((self.login(id, &sealed, begun_at, return_to)?, sealed))
    }

    fn seal(self, id: LoginId, begun_at: OffsetDateTime, return_to: &str, rng: &dyn Rng) -> Result<String, OpenError> {
        let seconds = u32::try_from(begun_at.unix_timestamp()).map_err(|_| OpenError)?;
        let plain = [&seconds.to_be_bytes(), return_to.as_bytes()].concat();
        self.keys.seal(&plain, Purpose(&["login", self.origin, self.profile.as_str(), &id.to_string()]), rng)
    }

    /// Opens a login cookie. Fails if the cookie was changed or belongs to another profile. The caller must check
    /// [`Pending::is_current`].
    pub(super) fn open(self, cookie: LoginCookie<'_>) -> Result<Pending, OpenError> {
        let id = cookie.id.to_string();
        let plain = self.keys.open(cookie.sealed, Purpose(&["login", self.origin, self.profile.as_str(), &id]))?;
        let (seconds, return_to) = plain.split_first_chunk().ok_or(OpenError)?;
        let begun_at = OffsetDateTime::from_unix_timestamp(u32::from_be_bytes(*seconds).into());
        let return_to = match std::str::from_utf8(return_to).map_err(|_| OpenError)? {
            "" => ReturnAddress::InStore,
            text => ReturnAddress::InCookie(text.into()),
        };
        self.login(cookie.id, cookie.sealed, begun_at.map_err(|_| OpenError)?, return_to)
    }

    /// Derives the login's secrets. As in Twilio's SDK, the verifier is 48 bytes and the nonce is 24 bytes, each
    /// encoded in base64url.
    fn login(
        self,
        id: LoginId,
        sealed: &str,
        begun_at: OffsetDateTime,
        return_to: ReturnAddress,
    ) -> Result<Pending, OpenError> {
        let purpose = ["login secrets", self.origin, self.profile.as_str(), &id.to_string()];
        let secrets = self.keys.derive::<72>(sealed, Purpose(&purpose))?;
        let (verifier, nonce) = secrets.split_at(48);
        Ok(Pending {
            id,
            code_verifier: SecretString::from(URL_SAFE_NO_PAD.encode(verifier)),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            begun_at,
            return_to,
        })
    }

    /// Encrypts a return address for the store.
    pub(super) fn seal_address(self, id: LoginId, return_to: &str, rng: &dyn Rng) -> Result<String, OpenError> {
        let purpose = ["return address", self.origin, self.profile.as_str(), &id.to_string()];
        self.keys.seal(return_to.as_bytes(), Purpose(&purpose), rng)
    }

    /// Decrypts a return address from the store.
    pub(super) fn open_address(self, id: LoginId, sealed: &str) -> Result<String, OpenError> {
        let purpose = ["return address", self.origin, self.profile.as_str(), &id.to_string()];
        String::from_utf8(self.keys.open(sealed, Purpose(&purpose))?.to_vec()).map_err(|_| OpenError)
    }
}

impl Pending {
    pub(super) fn is_current(&self, now: OffsetDateTime) -> bool {
        // Compare whole seconds, as in the cookie.
        let age = now.unix_timestamp() - self.begun_at.unix_timestamp();
        (-LEEWAY.whole_seconds()..=LOGIN_LIFETIME.whole_seconds()).contains(&age)
    }
}

impl LoginId {
    /// The name of the login's cookie.
    #[must_use]
    pub fn cookie_name(self) -> String {
        format!("{LOGIN_COOKIE}{self}")
    }
}

/// Generates a session's identifier: 256 random bits in base64url.
pub(super) fn session_id(rng: &dyn Rng) -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(random::<32>(rng)))
}

#[cfg(test)]
mod tests {
    use flexgate::base::clock_rng::ClockRng;
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;
    use serde_json::json;

    use super::*;

    fn ring(name: &str) -> KeyRing {
        let key = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        serde_json::from_value(json!({ "current": name, "keys": { name: key } })).unwrap()
    }

    proptest! {
        #[test]
        fn a_login_comes_back_from_its_cookie_which_is_small(
            return_to in "/[!-~]{0,300}", profile in "[a-z0-9-]{1,32}", key in "[a-z0-9]{1,32}",
        ) {
            let (ring, profile) = (ring(&key), profile.parse().unwrap());
            let of_profile = LoginKeys { keys: &ring, origin: "https://gate.example", profile: &profile };
            let (login, sealed) = of_profile.begin(&return_to, &ClockRng::system()).unwrap();
            prop_assert!(login.id.cookie_name().len() + 1 + sealed.len() <= 150);
            let again = of_profile.open(LoginCookie { id: login.id, sealed: &sealed }).unwrap();
            prop_assert_eq!(again.code_verifier.expose_secret(), login.code_verifier.expose_secret());
            prop_assert_eq!((again.nonce, again.return_to), (login.nonce, login.return_to));
            prop_assert_eq!(again.begun_at.unix_timestamp(), login.begun_at.unix_timestamp());
            let moved = LoginCookie { id: LoginId(login.id.0 ^ 1), sealed: &sealed };
            prop_assert!(of_profile.open(moved).is_err(), "it opens only under its own name");
        }
    }

    #[test]
    fn an_address_goes_to_the_store_as_soon_as_the_cookie_would_be_too_large() {
        let (ring, profile) = (ring("generated"), "default".parse().unwrap());
        let of_profile = LoginKeys { keys: &ring, origin: "https://gate.example", profile: &profile };
        let size = |length: usize| {
            let (login, sealed) = of_profile.begin(&"x".repeat(length), &ClockRng::system()).unwrap();
            let is_in_cookie = matches!(login.return_to, ReturnAddress::InCookie(_));
            is_in_cookie.then_some(login.id.cookie_name().len() + 1 + sealed.len())
        };
        let sizes: Vec<Option<usize>> = (0..100).map(size).collect();
        let largest = sizes.iter().flatten().max().unwrap();
        assert!((MAX_COOKIE - 1..=MAX_COOKIE).contains(largest), "{sizes:?}");
        assert!(sizes.is_sorted_by_key(Option::is_none), "{sizes:?}");
    }

    #[test]
    fn a_usual_address_is_in_the_cookie_and_two_logins_have_different_secrets() {
        let (ring, profile) = (ring("generated"), "default".parse().unwrap());
        let of_profile = LoginKeys { keys: &ring, origin: "https://gate.example", profile: &profile };
        let (one, _) = of_profile.begin("/desk?queue=billing", &ClockRng::system()).unwrap();
        let (other, _) = of_profile.begin("/desk?queue=billing", &ClockRng::system()).unwrap();
        assert_eq!(one.return_to, ReturnAddress::InCookie("/desk?queue=billing".into()));
        assert_ne!(one.code_verifier.expose_secret(), other.code_verifier.expose_secret());
        assert_ne!(one.nonce, other.nonce);
        assert_eq!((one.code_verifier.expose_secret().len(), one.nonce.len()), (64, 32));
    }

    #[test]
    fn an_address_that_just_fits_is_in_the_cookie() {
        let (ring, profile) = (ring("abcd"), "default".parse().unwrap());
        let of_profile = LoginKeys { keys: &ring, origin: "https://gate.example", profile: &profile };
        let fits = "/".repeat(49);
        let (login, sealed) = of_profile.begin(&fits, &ClockRng::system()).unwrap();
        assert_eq!(login.id.cookie_name().len() + 1 + sealed.len(), MAX_COOKIE);
        assert_eq!(login.return_to, ReturnAddress::InCookie(fits.as_str().into()));
        let (login, _) = of_profile.begin(&format!("{fits}/"), &ClockRng::system()).unwrap();
        assert_eq!(login.return_to, ReturnAddress::InStore);
    }

    #[test]
    fn an_address_in_the_store_opens_for_its_login_only() {
        let (ring, profile) = (ring("abcd"), "default".parse().unwrap());
        let of_profile = LoginKeys { keys: &ring, origin: "https://gate.example", profile: &profile };
        let random = ClockRng::system().rng;
        let sealed = of_profile.seal_address(LoginId(1), "/desk", random.as_ref()).unwrap();
        assert!(!sealed.contains("desk"));
        assert_eq!(of_profile.open_address(LoginId(1), &sealed), Ok("/desk".to_owned()));
        assert_eq!(of_profile.open_address(LoginId(2), &sealed), Err(OpenError));
    }

    #[test]
    fn a_login_lasts_ten_minutes_and_a_clock_may_be_a_minute_behind() {
        let (ring, profile) = (ring("abcd"), "default".parse().unwrap());
        let of_profile = LoginKeys { keys: &ring, origin: "https://gate.example", profile: &profile };
        let (login, _) = of_profile.begin("/", &ClockRng::system()).unwrap();
        for (later, current) in [(-61, false), (-60, true), (0, true), (600, true), (601, false)] {
            assert_eq!(login.is_current(login.begun_at + time::Duration::seconds(later)), current, "{later}");
        }
    }
}
