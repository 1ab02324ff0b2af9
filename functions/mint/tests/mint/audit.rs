//! The audit events that the tests' process wrote.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use serde_json::Value;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static START: Once = Once::new();

struct Buffer;

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps audit events and alarms from now on.
pub fn keep() {
    START.call_once(|| {
        let filter = "off,flexgate::audit=info,flexgate::alarm=info".parse::<Targets>().unwrap();
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(|| Buffer);
        tracing_subscriber::registry().with(filter).with(lines).init();
    });
}

/// The lines about one request.
pub fn lines(request_id: &str) -> Vec<Value> {
    let written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    let text = std::str::from_utf8(&written).unwrap();
    let of_request = text.lines().filter(|line| line.contains(request_id));
    of_request.map(|line| serde_json::from_str(line).unwrap()).collect()
}
