//! What was asked of the simulator, bodies included. Tests read it to see what the
//! gateway really sent. The control API is never in it.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::call::{Call, Service};
use crate::clock;

const KEEP: usize = 10_000;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    id: u64,
    time: String,
    pub(crate) service: Service,
    host: String,
    tls: bool,
    method: String,
    /// Without the service prefix.
    pub(crate) path: String,
    query: Map<String, Value>,
    raw_query: String,
    headers: Map<String, Value>,
    body: String,
    /// Null while unanswered, and for ever when the connection was dropped.
    status: Option<u16>,
    /// The kind of the fault that hit it.
    fault: Option<crate::faults::Kind>,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    next: u64,
    entries: VecDeque<Entry>,
}

impl Journal {
    pub(crate) fn begin(&mut self, call: &Call) -> u64 {
        self.next += 1;
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
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.id == id) {
            entry.status = status;
            entry.fault = fault;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn matching(&self, service: Option<&str>, path_contains: Option<&str>) -> Vec<&Entry> {
        self.entries
            .iter()
            .filter(|entry| {
                service.is_none_or(|name| serde_json::to_value(entry.service).is_ok_and(|value| value == name))
            })
            .filter(|entry| path_contains.is_none_or(|part| entry.path.contains(part)))
            .collect()
    }
}
