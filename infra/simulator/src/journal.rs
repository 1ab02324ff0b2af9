//! The journal of received requests and their bodies. It omits calls to the control API, and keeps the newest [`KEEP`]
//! requests. Its [`Counts`] also include older requests, which the journal no longer keeps.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::call::{Call, Service};
use crate::{clock, operation};

const KEEP: usize = 10_000;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    id: u64,
    time: String,
    pub(crate) service: Service,
    host: String,
    tls: bool,
    method: String,
    /// The path without the service prefix.
    pub(crate) path: String,
    query: Map<String, Value>,
    raw_query: String,
    headers: Map<String, Value>,
    body: String,
    /// The status of the answer. Null before the answer, and for a dropped connection.
    status: Option<u16>,
    /// The kind of fault that hit the request, if any.
    fault: Option<crate::faults::Kind>,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    next: u64,
    /// Entries have consecutive ids.
    entries: VecDeque<Entry>,
    counts: Counts,
}

/// The numbers of calls since the journal was last emptied.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Calls to Twilio's services, without preflights.
    twilio: u64,
    by_operation: BTreeMap<&'static str, u64>,
}

impl Journal {
    pub(crate) fn begin(&mut self, call: &Call) -> u64 {
        self.next += 1;
        self.counts.add(call);
        let mut headers = Map::new();
        for (name, value) in &call.headers {
            headers.insert(name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes())));
        }
        self.entries.push_back(Entry {
            id: self.next,
            time: clock::rfc3339_millis(clock::machine_millis()),
            service: call.service,
            host: call.host.clone(),
            tls: call.tls,
            method: call.method.to_string(),
            path: call.path.clone(),
            query: call.query.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect(),
            raw_query: call.raw_query.clone(),
            headers,
            body: String::from_utf8_lossy(&call.body).into_owned(),
            status: None,
            fault: None,
        });
        if self.entries.len() > KEEP {
            self.entries.pop_front();
        }
        self.next
    }

    pub(crate) fn finish(&mut self, id: u64, status: Option<u16>, fault: Option<crate::faults::Kind>) {
        let Some(first) = self.entries.front().map(|entry| entry.id) else { return };
        let place = id.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            entry.status = status;
            entry.fault = fault;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.counts = Counts::default();
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn matching(&self, service: Option<&str>, path_contains: Option<&str>) -> Vec<&Entry> {
        let wanted = service.map(Service::from_name);
        self.entries
            .iter()
            .filter(|entry| wanted.is_none_or(|wanted| wanted == Some(entry.service)))
            .filter(|entry| path_contains.is_none_or(|part| entry.path.contains(part)))
            .collect()
    }
}

impl Counts {
    fn add(&mut self, call: &Call) {
        let operation = operation::name(call);
        *self.by_operation.entry(operation).or_default() += 1;
        if call.service.is_twilio() && operation != operation::PREFLIGHT {
            self.twilio += 1;
        }
    }
}
