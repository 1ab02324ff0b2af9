//! Captures what the functions log on this thread.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// The log of a run. Dropping the value ends the log.
pub(crate) struct Log {
    lines: Lines,
    _active: tracing::subscriber::DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn start() -> Self {
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(lines.clone());
        let levels = tracing_subscriber::filter::Targets::new().with_target("flexgate", tracing::Level::INFO);
        let subscriber = tracing_subscriber::registry().with(levels).with(layer);
        Self { lines, _active: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&lines).into_owned()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}
