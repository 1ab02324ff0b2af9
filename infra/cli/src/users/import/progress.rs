//! How far it is: a bar where somebody looks, a plain line now and then where not.

use std::io::stderr;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::io::IsTerminal as _;
use tokio::time::Instant;

use crate::terminal::{colour, remark};

/// Without a terminal, a line at most this often.
const INTERVAL: Duration = Duration::from_secs(2);

pub(super) struct Progress {
    bar: ProgressBar,
    plain: Option<Mutex<Instant>>,
    began: Instant,
    skipped: u64,
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
        let plain = (!terminal).then(|| Mutex::new(now));
        let progress = Self { bar, plain, began: now, skipped };
        if progress.plain.is_some() {
            remark(&progress.line());
        }
        progress
    }

    /// One more row is finished.
    pub(super) fn step(&self, failed: usize, limit: usize) {
        self.bar.inc(1);
        let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        self.bar.set_message(format!(", {limit} at once{failures}"));
        if let Some(said) = &self.plain
            && let Ok(mut said) = said.lock()
            && said.elapsed() >= INTERVAL
        {
            *said = Instant::now();
            remark(&format!("{}{}", self.line(), self.bar.message()));
        }
    }

    pub(super) fn finish(&self) {
        if self.plain.is_some() { remark(&self.line()) } else { self.bar.abandon() }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is shown to one decimal")]
    fn line(&self) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
        let rate = (done - self.skipped) as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        let left =
            if rate > 0.0 { format!("{:.0} s left", (total - done) as f64 / rate) } else { "starting".to_owned() };
        format!("{done} of {total} rows, {rate:.1}/s, {left}")
    }
}
