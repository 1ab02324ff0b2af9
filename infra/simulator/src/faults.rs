//! Faults that tests inject, each with the requests that it hits.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::{Call, Service};
use crate::random;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Answer `status` with `body`, without performing the request.
    Status,
    /// Wait `delay_ms`, then perform the request.
    Delay,
    /// Drop the connection without performing the request.
    Reset,
    /// Answer 200 with an HTML page.
    Garbage,
    /// Perform the request, then drop the connection.
    LostResponse,
    /// Answer 200 with ten megabytes.
    Huge,
}

/// How many requests a fault hits. `0` and `"always"` mean every matching request until the next reset.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Times {
    Number(u32),
    Word(Always),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Always {
    Always,
}

impl Default for Times {
    fn default() -> Self {
        Self::Number(1)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// The name of a service, or `*` for all services.
    pub(crate) service: Target,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_contains: Option<String>,
    pub(crate) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) headers: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms: Option<u64>,
    #[serde(default)]
    pub(crate) times: Times,
    /// The probability that the fault hits a matching request, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) probability: Option<f64>,
    /// How many requests the fault has hit. Clients cannot set it.
    #[serde(default, skip_deserializing)]
    pub(crate) hits: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Target {
    One(Service),
    Every(Star),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Star {
    #[serde(rename = "*")]
    Star,
}

impl Fault {
    /// Returns why the fault is invalid, or `None` if it is valid.
    pub(crate) fn complaint(&self) -> Option<String> {
        if matches!(self.service, Target::One(Service::Control)) {
            return Some("service: the control API has no faults".to_owned());
        }
        match (self.kind, self.status, self.delay_ms) {
            (Kind::Status, None, _) => return Some("status: required for this kind".to_owned()),
            (Kind::Status, Some(status), _) if !(200..=599).contains(&status) => {
                return Some("status: must be 200 to 599".to_owned());
            }
            (Kind::Delay, _, None) => return Some("delay_ms: required for this kind".to_owned()),
            _ => {}
        }
        if self.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return Some("probability: must be 0 to 1".to_owned());
        }
        if self.headers.values().any(|value| !value.is_string()) {
            return Some("headers: values must be strings".to_owned());
        }
        None
    }

    fn spent(&self) -> bool {
        matches!(self.times, Times::Number(times) if times > 0 && self.hits >= times)
    }

    fn matches(&self, call: &Call) -> bool {
        let service = match self.service {
            Target::One(service) => service == call.service,
            Target::Every(Star::Star) => call.service != Service::Control,
        };
        service
            && self.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(call.method.as_str()))
            && self.path_contains.as_ref().is_none_or(|part| call.path.contains(part.as_str()))
            && self.probability.is_none_or(random::chance)
    }
}

/// Returns the oldest matching fault that is not used up, and counts the hit.
pub(crate) fn take(faults: &mut [Fault], call: &Call) -> Option<Fault> {
    let fault = faults.iter_mut().find(|fault| !fault.spent() && fault.matches(call))?;
    fault.hits += 1;
    Some(fault.clone())
}
