//! Runs the settings readers of all functions with the variables that the template would give them.

use std::collections::BTreeMap;

use flexgate::base::settings::{Reader, VariableError};

use super::template::Function;

/// The maximum size of a function's environment variables in Lambda, in bytes.
const LARGEST_ENVIRONMENT: usize = 4_096;

const PUBLIC_URL: &str = "FLEXGATE_PUBLIC_URL";

/// Runs a function's settings reader. The [`Reader`] collects the mistakes in the settings.
type ReadSettings = fn(&mut Reader);

/// Each function with its own settings reader.
const READERS: [(&str, ReadSettings); 6] = [
    ("sso", |reader| drop(flexgate_sso::Settings::read(reader))),
    ("mint", |reader| drop(flexgate_mint::Settings::read(reader))),
    ("provision", |reader| drop(flexgate_provision::Settings::read(reader))),
    ("webhooks", |reader| drop(flexgate_webhooks::Settings::read(reader))),
    ("apply", |reader| drop(flexgate_apply::Settings::read(reader))),
    ("sweep", |reader| drop(flexgate_sweep::Settings::read(reader))),
];

/// A mistake in a variable. `parameter` is the template's parameter that sets the variable, or `None` if the template
/// generates the variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) parameter: Option<String>,
    pub(super) problem: String,
}

/// Returns the mistakes in one function's settings. `value` returns the value of a parameter.
pub(super) fn mistakes<'v>(function: &Function, value: impl Fn(&str) -> &'v str) -> Vec<Mistake> {
    let source = |variable: &str| match function.variables.get(variable)?.as_deref()? {
        "PublicUrl" if value("PublicUrl").is_empty() => (!value("DomainName").is_empty()).then_some("DomainName"),
        parameter => Some(parameter),
    };
    // A message may name another variable.
    let named = |text: String, variable: &String| match source(variable) {
        Some(parameter) => text.replace(variable, parameter),
        None => text,
    };
    let mistake = |mistake: VariableError| {
        let problem = function.variables.keys().rev().fold(mistake.problem, named);
        Mistake { parameter: source(mistake.variable).map(str::to_owned), problem }
    };
    read(function, &environment(function, &value)).into_iter().map(mistake).collect()
}

/// Finds the function with the largest environment. If Lambda would refuse this environment, returns the mistake in the
/// parameter with the longest value.
pub(super) fn too_large<'v>(functions: &[&Function], value: impl Fn(&str) -> &'v str) -> Option<Mistake> {
    let size = |function: &&&Function| {
        environment(function, &value).iter().map(|(name, text)| name.len() + text.len()).sum::<usize>()
    };
    let largest = functions.iter().max_by_key(size)?;
    let size = size(&largest);
    let parameters = largest.variables.values().flatten();
    let parameter = parameters.max_by_key(|parameter| value(parameter).len()).cloned();
    let problem = format!(
        "makes the environment of the function {} too large: about {size} bytes, and Lambda accepts {LARGEST_ENVIRONMENT}",
        largest.name
    );
    (size > LARGEST_ENVIRONMENT).then_some(Mistake { parameter, problem })
}

/// The environment that the template gives the function.
fn environment<'v>(function: &Function, value: impl Fn(&str) -> &'v str) -> BTreeMap<String, String> {
    let text = |(variable, parameter): (&String, &Option<String>)| {
        let given = parameter.as_deref().map_or("", &value);
        let text = if given.is_empty() { stand_in(variable, value("DomainName")) } else { given.to_owned() };
        (variable.clone(), text)
    };
    function.variables.iter().map(text).collect()
}

/// Runs the function's settings reader, and returns the mistakes. If some settings are wrong, the reader skips others.
/// So if there are mistakes, runs the reader again with valid values in place of the wrong ones.
fn read(function: &Function, variables: &BTreeMap<String, String>) -> Vec<VariableError> {
    let Some((_, reader)) = READERS.iter().find(|(name, _)| *name == function.name) else { return Vec::new() };
    let run = |variables: &BTreeMap<String, String>| {
        let mut settings = Reader::empty().with(variables.clone());
        reader(&mut settings);
        settings.finish(Some(())).err().map(|error| error.variables().to_vec()).unwrap_or_default()
    };
    let mut found = run(variables);
    let is_wrong = |found: &[VariableError], variable: &str| found.iter().any(|error| error.variable == variable);
    // If the origins are wrong, skip the second run below. It would report even a correct return address as wrong,
    // because the return address must belong to an allowed origin.
    if found.is_empty() || is_wrong(&found, PUBLIC_URL) || is_wrong(&found, "FLEXGATE_ALLOWED_ORIGINS") {
        return found;
    }
    let mut corrected = variables.clone();
    for error in &found {
        corrected.insert(error.variable.to_owned(), stand_in(error.variable, ""));
    }
    let hidden: Vec<_> = run(&corrected).into_iter().filter(|error| !is_wrong(&found, error.variable)).collect();
    found.extend(hidden);
    found
}

/// Returns a plausible value for a variable that the template generates. The value can also stand in for a required
/// variable that is missing or wrong.
fn stand_in(variable: &str, domain: &str) -> String {
    match variable {
        "TWILIO_ACCOUNT_SID" => format!("AC{:032}", 0),
        "TWILIO_INSTANCE_SID" => format!("GO{:032}", 0),
        PUBLIC_URL if domain.is_empty() => "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com".to_owned(),
        PUBLIC_URL => format!("https://{domain}"),
        "FLEXGATE_STORE" => "dynamodb:flexgate-Table-1A2B3C4D5E6F7".to_owned(),
        "FLEXGATE_QUEUE" | "FLEXGATE_BULK_QUEUE" => {
            "sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/flexgate-Bulk-1A2B3C4D5E6F.fifo".to_owned()
        }
        "FLEXGATE_METRICS" => "emf:Flexgate/flexgate".to_owned(),
        "TWILIO_SECRET_ID" | "COOKIE_KEYS_SECRET_ID" | "SCIM_TOKENS_SECRET_ID" | "WEBHOOK_SECRETS_SECRET_ID" => {
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Secret-1A2B3C4D5E6F-a1b2c3".to_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::Template;
    use super::*;

    #[test]
    fn every_function_of_the_template_has_a_reader_and_accepts_the_stand_ins() {
        let template = Template::read().unwrap();
        let names: Vec<_> = template.functions.iter().map(|function| function.name.as_str()).collect();
        assert_eq!(names, READERS.map(|(name, _)| name));
        let value = |name: &str| match name {
            "TwilioAccountSid" => "AC00000000000000000000000000000001",
            "TwilioInstanceSid" => "GO00000000000000000000000000000001",
            "SsoProfiles" => "default=JQ00000000000000000000000000000001",
            "WebhookSources" => r#"{"okta": {}}"#,
            name => template.parameter(name).map_or("", |parameter| parameter.default.as_str()),
        };
        for function in &template.functions {
            assert_eq!(mistakes(function, value), [], "{}", function.name);
        }
    }
}
