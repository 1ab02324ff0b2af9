//! Writes output for people, with colour only on a terminal.

use std::io::{IsTerminal, Write as _};

/// The colour of a mark, by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// All is well.
    Green,
    /// Something may be wrong.
    Yellow,
    /// Something is wrong.
    Red,
}

/// Whether to use colour on `stream` (<https://no-color.org>).
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Colours `text` if standard output supports it.
pub fn paint(text: &str, paint: Paint) -> String {
    let code = match paint {
        Paint::Green => 32,
        Paint::Yellow => 33,
        Paint::Red => 31,
    };
    if colour(&std::io::stdout()) { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Writes a line to standard output at once, so that a program that reads from the pipe need not wait.
pub fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes a line to standard error, because standard output is for results.
pub fn remark(text: &str) {
    let _nowhere_left_to_say_it = writeln!(std::io::stderr(), "{text}");
}

/// Waits for a signal that stops a command.
pub async fn stopped() {
    match StopSignals::listen() {
        Ok(mut signals) => signals.next().await,
        Err(_) => {
            let _either_way_stop = tokio::signal::ctrl_c().await;
        }
    }
}

/// The signals that stop a command: Ctrl-C, SIGTERM (a service manager) and SIGHUP (a closed terminal). While this
/// value exists, signals are recorded and do not end the process.
pub struct StopSignals {
    #[cfg(unix)]
    all: [tokio::signal::unix::Signal; 3],
}

impl StopSignals {
    /// Begins to listen.
    pub fn listen() -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let [interrupt, terminate, hang_up] =
                [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            Ok(Self { all: [signal(interrupt)?, signal(terminate)?, signal(hang_up)?] })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate, hang_up] = &mut self.all;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        }
        #[cfg(not(unix))]
        let _either_way_stop = tokio::signal::ctrl_c().await;
    }
}

/// Replaces control characters in text from outside. Control characters could add lines or control the terminal.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
