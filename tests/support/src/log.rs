//! Captures what Flexgate's functions log during a test.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::sync::{Mutex, Once, PoisonError};

use serde_json::Value;
use tracing::Metadata;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

thread_local! {
    /// The text that this thread has logged. `None` if the thread has no [`Log`].
    static OF_THREAD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// All audit events and alarms of the process.
static DECISIONS: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Captures what this thread logs, until the value is dropped.
///
/// All tests of a process share one subscriber. `tracing` caches, once for the whole process, which events are wanted.
/// So if there were several subscribers, events would be lost.
#[derive(Debug)]
#[must_use]
pub struct Log {
    /// This field makes the type not `Send`. A [`Log`] must stay on its thread, because the captured text belongs to
    /// that thread.
    _not_send: PhantomData<*const ()>,
}

impl Log {
    /// Starts to capture what this thread logs. A thread can have only one [`Log`] at a time.
    pub fn start() -> Self {
        Self::keep_decisions();
        OF_THREAD.set(Some(Vec::new()));
        Self { _not_send: PhantomData }
    }

    /// Starts to store the audit events and alarms of the whole process, for [`Log::decisions_about`].
    pub fn keep_decisions() {
        static SUBSCRIBED: Once = Once::new();
        SUBSCRIBED.call_once(|| {
            let is_wanted = dynamic_filter_fn(|event, _| is_decision(event) || OF_THREAD.with_borrow(Option::is_some));
            let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Sinks);
            tracing_subscriber::registry().with(lines.with_filter(is_wanted)).init();
        });
    }

    /// Returns the audit events and alarms about one request, in order.
    #[must_use]
    pub fn decisions_about(request_id: &str) -> Vec<Value> {
        let written = DECISIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::str::from_utf8(&written).unwrap();
        let of_request = text.lines().filter(|line| line.contains(request_id));
        of_request.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every line so far.
    #[must_use]
    pub fn text(&self) -> String {
        OF_THREAD.with_borrow(|logged| String::from_utf8(logged.clone().unwrap_or_default()).unwrap())
    }

    /// Returns the audit events so far, each as `action decision reason`.
    #[must_use]
    pub fn audit(&self) -> Vec<String> {
        let text = self.text();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let field = |event: &Value, name: &str| event[name].as_str().unwrap_or("-").to_owned();
        events
            .filter(|event| event["target"] == "flexgate::audit")
            .map(|event| {
                format!("{} {} {}", field(&event, "action"), field(&event, "decision"), field(&event, "reason"))
            })
            .collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        OF_THREAD.set(None);
    }
}

fn is_decision(event: &Metadata<'_>) -> bool {
    matches!(event.target(), "flexgate::audit" | "flexgate::alarm")
}

struct Sinks;

impl<'a> MakeWriter<'a> for Sinks {
    type Writer = Sink;

    fn make_writer(&'a self) -> Sink {
        Sink { is_decision: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Sink {
        Sink { is_decision: is_decision(event) }
    }
}

/// Writes an event to its thread's log, if there is one. Audit events and alarms also go to the process's log.
struct Sink {
    is_decision: bool,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        OF_THREAD.with_borrow_mut(|logged| {
            if let Some(logged) = logged {
                logged.extend_from_slice(bytes);
            }
        });
        if self.is_decision {
            DECISIONS.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
