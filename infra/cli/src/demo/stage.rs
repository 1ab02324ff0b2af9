//! State shared by the demo's steps.

use std::error::Error;

use crate::terminal::{Paint, paint, say};

/// State shared by the steps.
pub(super) struct Stage {
    pub(super) http: flexgate::base::outbound::HttpClient,
    pub(super) gateway: String,
    pub(super) simulator: String,
    pub(super) issuer: String,
}

/// Prints a line with the step's name, whether the step succeeded, and its result.
pub(super) fn report(step: &str, outcome: &Result<String, Box<dyn Error>>) -> std::io::Result<()> {
    let (mark, text) = match outcome {
        Ok(text) => (paint("ok  ", Paint::Green), text.clone()),
        Err(error) => (paint("FAIL", Paint::Red), error.to_string()),
    };
    say(&format!("{mark}  {step:<12} {text}"))
}
