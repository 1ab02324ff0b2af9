//! Every operation of the Flex client against the simulator, with Twilio well and with Twilio ill.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should panic")]

mod faults;
mod operations;
mod rotation;

use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::{ClockRng, SystemClock};
use flexgate::base::outbound::{Deadline, http_client, send};
use flexgate::domain::{DesiredUser, Role};
use flexgate::secrets::{FileSecrets, TwilioCredentials};
use flexgate::twilio::{Endpoints, Flex, Sso};
use flexgate_simulator::{Config, Simulator};
use serde_json::{Value, json};

/// A simulator, and both clients pointed at it.
pub struct World {
    pub simulator: Simulator,
    pub flex: Flex,
    pub sso: Sso,
    folder: tempfile::TempDir,
    http: reqwest::Client,
}

impl World {
    pub async fn start() -> Self {
        let simulator = Simulator::start(Config::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let http = http_client(&[]).unwrap();
        let endpoints = Endpoints::at(simulator.url()).unwrap();
        let (account, instance) = (simulator.account().account_sid, simulator.account().instance_sid);
        let (account, instance) = (account.parse().unwrap(), instance.parse().unwrap());
        let source = Arc::new(FileSecrets::new(folder.path()));
        let credentials = Arc::new(TwilioCredentials::new("twilio", source, Arc::new(SystemClock)));
        let flex = Flex::new(
            http.clone(),
            endpoints.clone(),
            ClockRng::system(),
            credentials,
            flexgate::domain::AccountSid::clone(&account),
            flexgate::domain::InstanceSid::clone(&instance),
        );
        let sso = Sso::new(http.clone(), endpoints, ClockRng::system(), account, instance);
        let world = Self { simulator, flex, sso, folder, http };
        world.write_credential("twilio", &world.simulator.account().auth_token);
        world
    }

    /// Writes the secret; `twilio` is the current version, `twilio.pending` the pending one.
    pub fn write_credential(&self, name: &str, auth_token: &str) {
        let document = json!({ "accountSid": self.simulator.account().account_sid, "authToken": auth_token });
        self.write_secret(name, &document);
    }

    pub fn write_secret(&self, name: &str, document: &Value) {
        std::fs::write(self.folder.path().join(format!("{name}.json")), document.to_string()).unwrap();
    }

    /// `POST /__sim/{what}`.
    pub async fn control(&self, what: &str, body: Value) -> Value {
        let url = format!("{}/__sim/{what}", self.simulator.url());
        let mut request = reqwest::Request::new(http::Method::POST, url.parse().unwrap());
        request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.to_string().into());
        let answer = send(&self.http, request, soon(), 1 << 20).await.unwrap();
        assert!(answer.status.is_success(), "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// The requests seen whose path contains `path`.
    pub async fn journal(&self, path: &str) -> Vec<Value> {
        let url = format!("{}/__sim/requests?path_contains={path}", self.simulator.url());
        let request = reqwest::Request::new(http::Method::GET, url.parse().unwrap());
        let answer = send(&self.http, request, soon(), 1 << 24).await.unwrap();
        let journal: Value = serde_json::from_slice(&answer.body).unwrap();
        journal["requests"].as_array().unwrap().clone()
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
