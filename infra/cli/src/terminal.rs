//! What is written for a person: colour only where somebody looks and has not asked for none.

use std::io::{IsTerminal, Write as _};

/// What a mark means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// It is well.
    Green,
    /// It may not be.
    Yellow,
    /// It is not.
    Red,
}

/// Whether to paint on `stream` (<https://no-color.org>).
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text`, painted where standard output takes colour.
pub fn paint(text: &str, paint: Paint) -> String {
    let code = match paint {
        Paint::Green => 32,
        Paint::Yellow => 33,
        Paint::Red => 31,
    };
    if colour(&std::io::stdout()) { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// A line on standard output, at once, also where that is a pipe.
pub fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}

/// A line on standard error: what is not the command's result.
pub fn remark(text: &str) {
    let _nowhere_left_to_say_it = writeln!(std::io::stderr(), "{text}");
}

/// Waits for Ctrl-C, SIGTERM (a service manager) or SIGHUP (a closed terminal).
pub async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let (Ok(mut terminate), Ok(mut hang_up)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _either_way_stop = tokio::signal::ctrl_c().await;
}

/// Text of somebody else's, as one line that cannot drive the terminal.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
