//! Prints the tables, and a line for each checked bound.

use std::cell::RefCell;
use std::time::Duration;

/// The checked bounds, with their results.
#[derive(Default)]
pub struct Report {
    bounds: RefCell<Vec<(String, bool)>>,
}

impl Report {
    pub fn at_most(&self, what: &str, figure: f64, bound: f64, unit: &str) {
        self.judge(what, figure, "at most", bound, unit, figure <= bound);
    }

    pub fn at_least(&self, what: &str, figure: f64, bound: f64, unit: &str) {
        self.judge(what, figure, "at least", bound, unit, figure >= bound);
    }

    fn judge(&self, what: &str, figure: f64, how: &str, bound: f64, unit: &str, holds: bool) {
        let verdict = if holds { "ok" } else { "NOT MET" };
        let line = format!("{what}: {}{unit}, {how} {}{unit}: {verdict}", short(figure), short(bound));
        println!("    {line}");
        self.bounds.borrow_mut().push((line, holds));
    }

    /// Prints all measured values with their bounds again. Returns whether every value is within its bound.
    pub fn finish(&self) -> bool {
        let bounds = self.bounds.borrow();
        println!("\n## Bounds\n");
        for (line, _) in bounds.iter() {
            println!("- {line}");
        }
        let missed = bounds.iter().filter(|(_, holds)| !holds).count();
        println!("\nbounds: {} met, {missed} not met", bounds.len() - missed);
        missed == 0
    }
}

/// Formats a number. Larger numbers get fewer decimals.
pub fn short(figure: f64) -> String {
    let digits = match figure.abs() {
        0.0..1.0 => 3,
        1.0..20.0 => 2,
        20.0..100.0 => 1,
        _ => 0,
    };
    format!("{figure:.digits$}")
}

pub fn section(title: &str) {
    println!("\n## {title}\n");
}

/// Prints a progress line to standard error.
pub fn progress(text: &str) {
    eprintln!("… {text}");
}

pub fn row<const N: usize>(cells: [&str; N]) {
    println!("| {} |", cells.join(" | "));
}

pub fn rule(columns: usize) {
    println!("|{}", "---|".repeat(columns));
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Returns the quantile of `values` at the fraction `share`. For example, the quantile at 0.5 is the median.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the result is an index within the list"
    )]
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[at]
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
