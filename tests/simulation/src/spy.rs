//! Watches the requests to Twilio.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flexgate::base::outbound::Answer;
use serde_json::Value;

/// What the requests to Twilio have shown.
#[derive(Debug, Default)]
pub(crate) struct Spy(Mutex<Seen>);

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often Twilio has performed the exchange of each code.
    codes: BTreeMap<String, u32>,
    /// How often Twilio has performed a refresh with each refresh token.
    pub(crate) refreshes: BTreeMap<String, u32>,
    /// Everything that Flexgate must store only in sealed form.
    pub(crate) secrets: BTreeSet<String>,
    pub(crate) complaints: Vec<String>,
}

impl Spy {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request that Twilio refused without performing it.
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
