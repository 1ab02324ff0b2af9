//! The parameters of the CloudFormation template, and the rules for them. They are in `template.json`, which
//! `infra/parameters.py` writes.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::Deserialize;

const DESCRIBED: &str = include_str!("template.json");

/// The maximum length of a parameter's value in CloudFormation, in bytes.
const LONGEST_VALUE: usize = 4_096;
/// The minimum similarity (Jaro-Winkler) of a suggested name.
const ALIKE: f64 = 0.8;

/// The template: its parameters in their order, the rules that each link two parameters, and its functions.
#[derive(Debug, Deserialize)]
pub(super) struct Template {
    pub(super) parameters: Vec<Parameter>,
    pub(super) rules: Vec<Rule>,
    pub(super) functions: Vec<Function>,
}

/// A parameter with its rules.
#[derive(Debug, Deserialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) description: String,
    /// Whether the value is a JSON document.
    #[serde(default)]
    pub(super) is_json: bool,
    /// Whether the parameter has no default.
    #[serde(default)]
    pub(super) is_required: bool,
    pub(super) default: String,
    #[serde(default)]
    is_number: bool,
    pattern: Option<String>,
    constraint: Option<String>,
    #[serde(default)]
    allowed: Vec<String>,
    min: Option<f64>,
    max: Option<f64>,
}

/// A rule: if the parameter `given` is not empty, `parameter` must not have the value `wrong`.
#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    pub(super) given: String,
    pub(super) parameter: String,
    pub(super) wrong: String,
    pub(super) problem: String,
}

/// A function with its environment.
#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    /// The function exists only if this parameter is not empty.
    pub(super) deployed_if: Option<String>,
    /// The parameter with the function's reserved concurrency.
    pub(super) reserved: Option<String>,
    /// The environment variables, each with the parameter that sets it, or `None` if the template generates the value.
    pub(super) variables: BTreeMap<String, Option<String>>,
}

impl Template {
    /// Reads the description of the template that this program was built with.
    pub(super) fn read() -> serde_json::Result<Self> {
        serde_json::from_str(DESCRIBED)
    }

    /// Returns the parameter of this name.
    pub(super) fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Returns the parameter that the user probably meant by the unknown name `name`. If `name` is the name of an
    /// environment variable, returns the parameter that sets this variable. Otherwise returns the parameter with the
    /// most similar name.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        let of_variable = self.functions.iter().find_map(|function| function.variables.get(name)?.as_deref());
        let alike = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
        let scored = self.parameters.iter().map(|parameter| (alike(&parameter.name), parameter.name.as_str()));
        let nearest = scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score >= ALIKE);
        of_variable.or(nearest.map(|(_, known)| known))
    }
}

impl Parameter {
    /// Returns how the value breaks the template's own rules. The text completes the sentence "the parameter …".
    pub(super) fn broken_rule(&self, value: &str) -> Option<String> {
        if value.len() > LONGEST_VALUE {
            return Some(format!("has {} bytes, and CloudFormation accepts {LONGEST_VALUE}", value.len()));
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed == value) {
            return Some(format!("is {value:?}, and must be {}", alternatives(&self.allowed)));
        }
        if self.is_number {
            let Ok(number) = value.parse::<f64>() else { return Some(format!("is {value:?}, and must be a number")) };
            return match (self.min, self.max) {
                (Some(min), Some(max)) if number < min || number > max => Some(format!("must be from {min} to {max}")),
                (Some(min), None) if number < min => Some(format!("must be at least {min}")),
                (None, Some(max)) if number > max => Some(format!("must be at most {max}")),
                _ => None,
            };
        }
        let pattern = self.pattern.as_deref()?;
        // CloudFormation compares the whole value.
        let is_match = Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(value));
        let rule = || self.constraint.clone().unwrap_or_else(|| format!("must match {pattern}"));
        (!is_match).then(rule)
    }
}

fn alternatives(values: &[String]) -> String {
    match values {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => values.join(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_template_is_known() {
        let template = Template::read().unwrap();
        let broken = |name: &str, value: &str| template.parameter(name).unwrap().broken_rule(value).unwrap_or_default();
        for (name, good, bad, says) in [
            ("TwilioAccountSid", "AC00000000000000000000000000000001", "AC1", "must match ^AC"),
            ("TrustedProxies", "0", "11", "from 0 to 10"),
            ("TrustedProxies", "10", "one", "must be a number"),
            ("Canary", "true", "yes", "must be true or false"),
            ("LogRetentionDays", "7", "8", "180 or 365"),
            ("PublicUrl", "https://app.example.com", "https://app.example.com/", "without a slash"),
            ("Issuers", "[]", &"x".repeat(4_097), "4096"),
        ] {
            assert_eq!(broken(name, good), "");
            assert!(broken(name, bad).contains(says), "{name}: {}", broken(name, bad));
        }
        for parameter in template.parameters.iter().filter(|parameter| !parameter.is_required) {
            assert_eq!(parameter.broken_rule(&parameter.default), None, "{}", parameter.name);
        }
    }

    #[test]
    fn a_misspelt_parameter_and_a_variable_lead_to_the_parameter() {
        let template = Template::read().unwrap();
        for (name, meant) in [
            ("TwilioAcountSid", Some("TwilioAccountSid")),
            ("issuers", Some("Issuers")),
            ("SSOProfile", Some("SsoProfiles")),
            ("FLEXGATE_WEBHOOKS", Some("WebhookSources")),
            ("Zebra", None),
        ] {
            assert_eq!(template.nearest(name), meant, "{name}");
        }
    }
}
