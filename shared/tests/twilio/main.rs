//! Tests every operation of the Twilio clients against a simulator.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should panic")]

mod faults;
mod operations;
mod rotation;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::{ClockRng, SystemClock};
use flexgate::base::outbound::{Deadline, http_client};
use flexgate::domain::{AccountSid, DesiredUser, InstanceSid, Role};
use flexgate::secrets::{FileSecrets, TwilioCredentials};
use flexgate::twilio::{Endpoints, Flex, Sso};
use flexgate_test_support::World;
use serde_json::json;

pub struct Clients {
    pub world: World,
    pub flex: Flex,
    pub sso: Sso,
}

impl Clients {
    pub async fn start() -> Self {
        let world = World::start().await;
        let http = http_client(&[]).unwrap();
        let endpoints = Endpoints::at(world.simulator.url()).unwrap();
        let account = world.simulator.account();
        let (account, instance): (AccountSid, InstanceSid) =
            (account.account_sid.parse().unwrap(), account.instance_sid.parse().unwrap());
        let source = Arc::new(FileSecrets::new(world.folder().join("secrets")));
        let credentials = Arc::new(TwilioCredentials::new("twilio", source, Arc::new(SystemClock)));
        let clock_rng = ClockRng::system();
        let flex = Flex::new(
            http.clone(),
            endpoints.clone(),
            clock_rng.clone(),
            credentials,
            account.clone(),
            instance.clone(),
        );
        let sso = Sso::new(http, endpoints, clock_rng, account, instance);
        Self { world, flex, sso }
    }

    /// Writes a credential as the secret `name`: `twilio` (the current version) or `twilio.pending` (the pending
    /// version).
    pub fn write_credential(&self, name: &str, auth_token: &str) {
        let account_sid = self.world.simulator.account().account_sid;
        self.world.write_secret(name, &json!({ "accountSid": account_sid, "authToken": auth_token }));
    }
}

#[must_use]
pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

#[must_use]
pub fn desired(username: &str) -> DesiredUser {
    DesiredUser {
        username: username.parse().unwrap(),
        email: if username.is_ascii() && username.chars().all(char::is_alphanumeric) {
            format!("{username}@example.com").parse().unwrap()
        } else {
            "someone@example.com".parse().unwrap()
        },
        full_name: "Katherine Johnson".parse().unwrap(),
        roles: [Role::Agent].into(),
        worker_attributes: None,
    }
}
