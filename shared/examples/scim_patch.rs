//! Applies SCIM patches from standard input, for the judge in `tests/judges/scim`: each line
//! `{"document": {…}, "operations": […]}` is answered by `{"ok": {…}}` or `{"error": "…"}`.

use std::io::{BufRead as _, Write as _};

use flexgate::scim::{Document, Refusal, Schema, WorkerFields, apply, operations};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = Schema::user(&"language.string,level.int".parse::<WorkerFields>()?);
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let document: Document = case["document"].as_object().cloned().unwrap_or_default();
        let body = Document::from_iter([("Operations".to_owned(), case["operations"].clone())]);
        let answer = match operations(&body).and_then(|operations| apply(&schema, &document, &operations)) {
            Ok(patched) => json!({ "ok": patched }),
            Err(refusal) => json!({ "error": name(&refusal) }),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(out.flush()?)
}

fn name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::InvalidSyntax(_) => "invalidSyntax",
        Refusal::InvalidValue(_) => "invalidValue",
        Refusal::InvalidPath(_) => "invalidPath",
        Refusal::InvalidFilter(_) => "invalidFilter",
        Refusal::NoTarget(_) => "noTarget",
        Refusal::Mutability(_) => "mutability",
        _ => "other",
    }
}
