//! Writes the template's parameters in the formats of the programs that deploy the template.

use clap::ValueEnum;
use serde_json::{Value, json};

/// The format in which `flexgate doctor` writes the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For sam deploy --parameter-overrides, and for the GitHub workflow deploy.yml
    Sam,
    /// The line for a section like [prod.deploy.parameters] in samconfig.toml
    Samconfig,
    /// A parameters file of CloudFormation
    Cloudformation,
}

/// Returns the parameters as text in this format. Each parameter is a name and a value.
pub(super) fn write(parameters: &[(&str, &str)], format: Format) -> String {
    match format {
        Format::Sam => pairs(parameters),
        // A JSON string is also a valid TOML string.
        Format::Samconfig => format!("parameter_overrides = {}", Value::from(pairs(parameters))),
        Format::Cloudformation => {
            let entry = |(name, value): &(&str, &str)| json!({ "ParameterKey": name, "ParameterValue": value });
            format!("{:#}", parameters.iter().map(entry).collect::<Value>())
        }
    }
}

/// Quotes a text for a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The form that SAM CLI reads: pairs with spaces between them. Values are in double quotes, so that they may contain
/// spaces.
fn pairs(parameters: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", value.replace('"', "\\\""));
    parameters.iter().map(pair).collect::<Vec<_>>().join(" ")
}
