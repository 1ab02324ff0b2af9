//! Shows the progress of an import: a bar on a terminal, and otherwise a line every few seconds.

use std::collections::VecDeque;
use std::io::stderr;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::io::IsTerminal as _;
use tokio::time::Instant;

use crate::terminal::{colour, remark};

/// The time between two progress lines, which replace the bar if there is no terminal.
const INTERVAL: Duration = Duration::from_secs(2);

/// A progress line shows the import's average rate over a period of this length. It also shows the remaining time,
/// which is computed from this rate.
const WINDOW: Duration = Duration::from_secs(20);

pub(super) struct Progress {
    bar: ProgressBar,
    plain: Option<Mutex<Recent>>,
}

/// The times of the last progress lines, each with the number of finished rows.
struct Recent(VecDeque<(Instant, u64)>);

impl Recent {
    /// Returns the rate in rows per second, measured from the oldest line within `WINDOW`. If all lines are older,
    /// measures from the last line.
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown to one decimal")]
    fn rate(&mut self, now: Instant, done: u64) -> f64 {
        while self.0.len() > 1 && self.0.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.0.pop_front();
        }
        let Some((since, before)) = self.0.front().copied() else { return 0.0 };
        done.saturating_sub(before) as f64 / (now - since).as_secs_f64().max(0.001)
    }
}

impl Progress {
    pub(super) fn start(total: usize, skipped: usize) -> Self {
        let (total, skipped) = (total as u64, skipped as u64);
        let terminal = stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let paint = if colour(&stderr()) { ".green" } else { "" };
        let template = format!("[{{bar:32{paint}}}] {{pos}}/{{len}} rows, {{rate}}, {{eta}} left{{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _a_bar_without_a_rate = write!(out, "{:.1}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
        bar.set_position(skipped);
        bar.reset_eta();
        let now = Instant::now();
        let plain = (!terminal).then(|| Mutex::new(Recent([(now, skipped)].into())));
        let progress = Self { bar, plain };
        if progress.plain.is_some() {
            remark(&progress.line());
        }
        progress
    }

    /// Counts one more finished row.
    pub(super) fn step(&self, failed: usize, limit: usize) {
        self.bar.inc(1);
        let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        self.bar.set_message(format!(", {limit} at once{failures}"));
        let is_due = |recent: &Mutex<Recent>| {
            recent.lock().is_ok_and(|recent| recent.0.back().is_none_or(|(at, _)| at.elapsed() >= INTERVAL))
        };
        if self.plain.as_ref().is_some_and(is_due) {
            remark(&format!("{}{}", self.line(), self.bar.message()));
        }
    }

    /// Writes a line to standard error without damaging the bar.
    pub(super) fn remark(&self, text: &str) {
        self.bar.suspend(|| remark(text));
    }

    pub(super) fn finish(&self) {
        if self.plain.is_some() { remark(&self.line()) } else { self.bar.abandon() }
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate is shown in seconds")]
    fn line(&self) -> String {
        let (done, total, now) = (self.bar.position(), self.bar.length().unwrap_or_default(), Instant::now());
        let rate = self.plain.as_ref().and_then(|recent| recent.lock().ok()).map_or(0.0, |mut recent| {
            let rate = recent.rate(now, done);
            recent.0.push_back((now, done));
            rate
        });
        let left = match rate {
            rate if rate > 0.0 => format!("{:.0} s left", (total - done) as f64 / rate),
            _ if done < total => "waiting".to_owned(),
            _ => "done".to_owned(),
        };
        format!("{done} of {total} rows, {rate:.1}/s, {left}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn r90_the_estimate_follows_the_recent_rate() {
        let mut recent = Recent([(Instant::now(), 0)].into());
        let mut done = 0;
        for _ in 0..30 {
            tokio::time::advance(INTERVAL).await;
            done += 200;
            assert!((recent.rate(Instant::now(), done) - 100.0).abs() < 0.1);
            recent.0.push_back((Instant::now(), done));
        }
        // Twilio slows the import down to one row a second.
        for _ in 0..20 {
            tokio::time::advance(INTERVAL).await;
            done += 2;
            recent.rate(Instant::now(), done);
            recent.0.push_back((Instant::now(), done));
        }
        assert!((recent.rate(Instant::now(), done) - 1.0).abs() < 0.1);
    }
}
