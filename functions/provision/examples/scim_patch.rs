//! Applies SCIM patches from standard input. `tests/judges/scim` compares the results with those of the npm package
//! `scim-patch`.
//!
//! An input line is `{"document": {…}, "operations": […]}`. An output line is `{"ok": {…}}` or `{"error": "…"}`.

use std::io::{BufRead as _, Write as _};

use flexgate::domain::Role;
use flexgate_provision::protocol::{Document, ProtocolError, apply, operations};
use flexgate_provision::{WorkerFields, user_schema};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema =
        user_schema(&"language.string,level.int".parse::<WorkerFields>()?, &[Role::Agent, Role::Supervisor].into());
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let document: Document = case["document"].as_object().cloned().unwrap_or_default();
        let body = Document::from_iter([("Operations".to_owned(), case["operations"].clone())]);
        let answer = match operations(&body).and_then(|operations| apply(&schema, &document, &operations)) {
            Ok(patched) => json!({ "ok": patched }),
            Err(error) => json!({ "error": name(&error) }),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(out.flush()?)
}

fn name(error: &ProtocolError) -> &'static str {
    match error {
        ProtocolError::InvalidSyntax(_) => "invalidSyntax",
        ProtocolError::InvalidValue(_) => "invalidValue",
        ProtocolError::InvalidPath(_) => "invalidPath",
        ProtocolError::InvalidFilter(_) => "invalidFilter",
        ProtocolError::NoTarget(_) => "noTarget",
        ProtocolError::Mutability(_) => "mutability",
        ProtocolError::InvalidCursor | ProtocolError::ExpiredCursor => "other",
    }
}
