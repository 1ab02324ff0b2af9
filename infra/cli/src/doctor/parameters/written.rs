//! Writes the parameters for the programs that deploy.

use clap::ValueEnum;
use serde_json::{Value, json};

/// For which program `flexgate doctor` writes the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The option --parameter-overrides of sam deploy, quoted for a shell
    Shell,
    /// The variable SAM_PARAMETERS of the GitHub workflow deploy.yml
    Github,
    /// The line for a section like [prod.deploy.parameters] in samconfig.toml
    Samconfig,
    /// A parameters file of CloudFormation
    Cloudformation,
}

/// Writes the parameters, each a name and a value.
pub(super) fn write(parameters: &[(&str, &str)], format: Format) -> String {
    match format {
        Format::Shell => format!("--parameter-overrides '{}'", pairs(parameters).replace('\'', r"'\''")),
        Format::Github => pairs(parameters),
        // A JSON string is a TOML string too.
        Format::Samconfig => format!("parameter_overrides = {}", Value::from(pairs(parameters))),
        Format::Cloudformation => {
            let entry = |(name, value): &(&str, &str)| json!({ "ParameterKey": name, "ParameterValue": value });
            format!("{:#}", parameters.iter().map(entry).collect::<Value>())
        }
    }
}

/// The form that SAM CLI reads: pairs with spaces between them. Values are in double quotes, so that they may contain
/// spaces.
fn pairs(parameters: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", value.replace('"', "\\\""));
    parameters.iter().map(pair).collect::<Vec<_>>().join(" ")
}
