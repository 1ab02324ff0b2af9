//! The parts of sign-in, and what login and sessions have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::{ProfileName, SsoProfile, SsoProfiles};
use flexgate::secrets::{CachedSecret, Held};
use flexgate::store::{Deactivations, EventQueue, OnceOnly, ReturnAddresses, Sessions};
use flexgate::twilio::{Sso, SsoConfiguration};
use time::OffsetDateTime;
use url::Url;

use super::configuration::Configured;
use super::pending::LoginKeys;
use super::{Destinations, Fault, Lifetimes};

/// The parts of sign-in.
#[derive(Debug)]
pub struct SignInParts {
    /// The profiles with which people may sign in.
    pub profiles: SsoProfiles,
    /// Flexgate's public URL. Callbacks and login cookies belong to its origin.
    pub public_url: Url,
    /// The origins to which browsers may go after sign-in.
    pub destinations: Destinations,
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
    /// The return addresses that are too long for a login cookie.
    pub return_addresses: Arc<dyn ReturnAddresses>,
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

    /// The origins to which browsers may go after sign-in.
    #[must_use]
    pub fn destinations(&self) -> &Destinations {
        &self.parts.destinations
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

    /// Returns the callback's URL, which must be one of Twilio's Trusted URLs. It comes from the settings, never from a
    /// request.
    #[must_use]
    pub fn redirect_url(&self, profile: &ProfileName) -> String {
        format!("{}/sso/{profile}/callback", self.origin)
    }

    /// Returns the URL at which a login with this profile begins.
    #[must_use]
    pub fn login_url(&self, profile: &ProfileName) -> String {
        format!("{}/sso/{profile}/login", self.origin)
    }

    /// Returns a key ring that knows the keys of all `sealed` values, if there is one. After a rotation, another process
    /// may use a key that this process has not read yet.
    pub(super) async fn keys_for<'a>(
        &self,
        sealed: impl IntoIterator<Item = &'a str>,
        deadline: Deadline,
    ) -> Result<Arc<Held<KeyRing>>, Fault> {
        let held = self.parts.keys.get(deadline).await?;
        if sealed.into_iter().all(|sealed| held.value.knows(sealed)) {
            return Ok(held);
        }
        Ok(self.parts.keys.get_after_rejection(&held.version, deadline).await?)
    }

    pub(super) fn login_keys<'a>(&'a self, profile: &'a ProfileName, keys: &'a KeyRing) -> LoginKeys<'a> {
        LoginKeys { keys, origin: &self.origin, profile }
    }
}
