//! Watches the requests to Twilio.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flexgate::base::outbound::Answer;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

/// The maximum duration of a refresh. After this time, a process abandons the refresh.
const REFRESH_AT_MOST: Duration = Duration::seconds(7);

/// What the requests to Twilio have shown.
#[derive(Debug, Default)]
pub(crate) struct Spy(Mutex<Seen>);

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often Twilio has exchanged each authorization code.
    codes: BTreeMap<String, u32>,
    /// When the latest request with each refresh token began.
    refreshing: BTreeMap<String, OffsetDateTime>,
    /// How often Twilio has refreshed a session with each refresh token.
    pub(crate) refreshes: BTreeMap<String, u32>,
    /// All values that Flexgate may store only in encrypted form.
    pub(crate) secrets: BTreeSet<String>,
    pub(crate) complaints: Vec<String>,
}

impl Spy {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a process sends a request. Complains if another process is refreshing the same session.
    pub(crate) fn begins(&self, request: &reqwest::Request, now: OffsetDateTime) {
        let sent = body(request);
        let Some(token) = sent["refresh_token"].as_str() else { return };
        let mut seen = self.seen();
        let before = seen.refreshing.insert(token.to_owned(), now);
        if before.is_some_and(|before| before + REFRESH_AT_MOST > now) {
            seen.complaints.push("two processes refreshed a session at the same time".to_owned());
        }
    }

    /// Records that the request has ended. After that, another process may refresh the session.
    pub(crate) fn ends(&self, request: &reqwest::Request) {
        if let Some(token) = body(request)["refresh_token"].as_str() {
            self.seen().refreshing.remove(token);
        }
    }

    /// Records the secrets in a request that Twilio refused without performing it.
    pub(crate) fn unperformed(&self, request: &reqwest::Request) {
        self.note_secrets(request);
    }

    pub(crate) fn performed(&self, request: &reqwest::Request, answer: Option<&Answer>) {
        self.note_secrets(request);
        let sent = body(request);
        let mut seen = self.seen();
        if let Some(code) = sent["code"].as_str() {
            let times = seen.codes.entry(code.to_owned()).or_default();
            *times += 1;
            if *times == 2 {
                seen.complaints.push("a code was sent to Twilio again after Twilio had redeemed it".to_owned());
            }
        }
        if let Some(token) = sent["refresh_token"].as_str() {
            *seen.refreshes.entry(token.to_owned()).or_default() += 1;
        }
        let answer: Value = answer.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default();
        for name in ["access_token", "refresh_token"] {
            if let Some(secret) = answer[name].as_str() {
                seen.secrets.insert(secret.to_owned());
            }
        }
    }

    fn note_secrets(&self, request: &reqwest::Request) {
        let sent = body(request);
        let names = ["code", "code_verifier", "refresh_token"];
        let secrets = names.iter().filter_map(|name| sent[name].as_str()).map(str::to_owned);
        self.seen().secrets.extend(secrets);
    }
}

fn body(request: &reqwest::Request) -> Value {
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    serde_json::from_slice(body).unwrap_or_default()
}
