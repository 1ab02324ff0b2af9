//! The sign-in service, with its parts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::base::seal::KeyRing;
use flexgate::domain::{ProfileName, SsoProfile, SsoProfiles};
use flexgate::secrets::{CachedSecret, Held};
use flexgate::store::{
    CachedSignInState, Deactivations, EventQueue, OnceOnly, ReturnAddresses, Seats, SessionEndings, Sessions,
};
use flexgate::twilio::{Sso, SsoConfiguration};
use time::OffsetDateTime;
use url::Url;

use super::configuration::Configured;
use super::pending::LoginKeys;
use super::{Destinations, Fault, NotAllowed, SessionPolicies, StoredAddress};

/// The parts of sign-in.
#[derive(Debug)]
pub struct SignInParts {
    /// The profiles that people can use for sign-in.
    pub profiles: SsoProfiles,
    /// Flexgate's public URL. The callbacks and the login cookies belong to its origin.
    pub public_url: Url,
    /// The origins to which a browser can go after sign-in.
    pub destinations: Destinations,
    /// The limits of each profile's sessions.
    pub policies: SessionPolicies,
    /// Which part of the client's IP address Flexgate stores.
    pub stored_address: StoredAddress,
    /// The client for Twilio's SSO. It has no credential.
    pub sso: Sso,
    pub keys: CachedSecret<KeyRing>,
    pub sessions: Arc<dyn Sessions>,
    /// Records which of a person's sessions is the newest, for profiles that allow one sign-in at a time.
    pub seats: Arc<dyn Seats>,
    /// The switch with which operators end all sessions, or stop all sign-ins.
    pub sign_in_state: CachedSignInState,
    /// The record of when an identity system ended a person's sessions.
    pub endings: Arc<dyn SessionEndings>,
    /// Ensures that each login is completed only once.
    pub once_only: Arc<dyn OnceOnly>,
    /// Stores return addresses that are too long for a login cookie.
    pub return_addresses: Arc<dyn ReturnAddresses>,
    /// Tells whether a source has reported a person as inactive. Twilio does not know this, and its SSO may have
    /// reactivated the person's Flex user.
    pub deactivations: Arc<dyn Deactivations>,
    /// The queue for jobs that deactivate a Flex user whom Twilio's SSO may have reactivated.
    pub queue: Arc<dyn EventQueue>,
    pub clock_rng: ClockRng,
}

/// The sign-in service.
#[derive(Debug)]
pub struct SignIn {
    pub(super) parts: SignInParts,
    profiles: BTreeMap<ProfileName, Configured>,
    origin: String,
}

impl SignIn {
    /// Creates the service. Sends and reads nothing.
    #[must_use]
    pub fn new(parts: SignInParts) -> Self {
        let profiles = parts.profiles.iter().cloned();
        let profiles = profiles.map(|profile| (profile.name.clone(), Configured::new(profile))).collect();
        let origin = parts.public_url.origin().ascii_serialization();
        Self { parts, profiles, origin }
    }

    /// Reads the cookie keys before the first request. If this fails, the first request tries again.
    pub async fn prewarm(&self, deadline: Deadline) {
        let _read = self.parts.keys.get(deadline).await;
    }

    #[must_use]
    pub fn profile(&self, unverified_name: &str) -> Option<&SsoProfile> {
        self.parts.profiles.get(unverified_name)
    }

    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.parts.clock_rng.now()
    }

    /// Flexgate's own origin, as a URL.
    #[must_use]
    pub fn public_url(&self) -> &Url {
        &self.parts.public_url
    }

    /// The origins to which a browser can go after sign-in.
    #[must_use]
    pub fn destinations(&self) -> &Destinations {
        &self.parts.destinations
    }

    /// Checks that this client may sign in with this profile, and may use sessions of this profile.
    pub async fn check_allowed(&self, profile: &ProfileName, client: Option<IpAddr>) -> Result<(), NotAllowed> {
        if self.parts.sign_in_state.get().await.map_err(Fault::from)?.locked_at.is_some() {
            return Err(NotAllowed::Locked);
        }
        if self.parts.policies.of(profile).allows(client) { Ok(()) } else { Err(NotAllowed::Network) }
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

    /// Returns the callback's URL, which Twilio must list as a Trusted URL. The URL comes from the settings, not from a
    /// request.
    #[must_use]
    pub fn redirect_url(&self, profile: &ProfileName) -> String {
        format!("{}/sso/{profile}/callback", self.origin)
    }

    /// Returns the URL that starts a login with this profile.
    #[must_use]
    pub fn login_url(&self, profile: &ProfileName) -> String {
        format!("{}/sso/{profile}/login", self.origin)
    }

    /// Returns a key ring that contains the keys of all `sealed` values, if possible. After a key rotation, another
    /// process may use a key that this process has not read yet.
    pub(super) async fn keys_for<'a>(
        &self,
        sealed: impl IntoIterator<Item = &'a str>,
        deadline: Deadline,
    ) -> Result<Arc<Held<KeyRing>>, Fault> {
        let sealed: Vec<_> = sealed.into_iter().collect();
        let knows_all = |ring: &KeyRing| sealed.iter().all(|sealed| ring.knows(sealed));
        Ok(self.parts.keys.get_accepted(deadline, knows_all).await?)
    }

    pub(super) fn login_keys<'a>(&'a self, profile: &'a ProfileName, keys: &'a KeyRing) -> LoginKeys<'a> {
        LoginKeys { keys, origin: &self.origin, profile }
    }
}
