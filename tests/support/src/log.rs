//! What the functions log while a test runs.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::sync::Once;

use serde_json::Value;
use tracing::Level;

thread_local! {
    /// What this thread has logged since its [`Log`] started; `None` while it has no log.
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Captures everything that this thread logs while the value is alive.
///
/// All tests of a process share one subscriber. A subscriber for each test would miss events now and then, because
/// `tracing` caches for the whole process whether anybody is interested in an event.
#[derive(Debug)]
#[must_use]
pub struct Log {
    /// The log belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Log {
    /// Starts to capture. A thread has one log at a time.
    pub fn start() -> Self {
        static SUBSCRIBED: Once = Once::new();
        SUBSCRIBED.call_once(|| {
            let subscriber = tracing_subscriber::fmt().json().with_max_level(Level::TRACE).with_writer(|| OfThread);
            tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
        });
        LOGGED.set(Some(Vec::new()));
        Self { _not_send: PhantomData }
    }

    /// Every line so far.
    #[must_use]
    pub fn text(&self) -> String {
        LOGGED.with_borrow(|logged| String::from_utf8(logged.clone().unwrap_or_default()).unwrap())
    }

    /// The audit events so far, each as `action decision reason`.
    #[must_use]
    pub fn audit(&self) -> Vec<String> {
        let text = self.text();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let field = |event: &Value, name: &str| event["fields"][name].as_str().unwrap_or("-").to_owned();
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
        LOGGED.set(None);
    }
}

/// Writes to the thread's log, if it has one.
struct OfThread;

impl io::Write for OfThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| {
            if let Some(logged) = logged {
                logged.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
