//! `flexgate doctor --template-parameters FILE`: checks the parameters of a deployment before CloudFormation sees them.

mod file;
mod functions;
mod template;
mod written;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

pub use written::Format;

use super::finding::Finding;
use file::Given;
use template::{Function, Template};

const CHECK: &str = "parameters";

/// The parameters with Flexgate's own origins.
const ORIGINS: [&str; 3] = ["AllowedOrigins", "PublicUrl", "DomainName"];

/// The parameters in a file, checked.
pub(super) struct Parameters {
    template: Template,
    given: BTreeMap<String, Given>,
    /// The findings, in the order of the template's parameters.
    pub(super) findings: Vec<Finding>,
}

impl Parameters {
    /// Reads and checks the file.
    pub(super) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let template = Template::read()?;
        let mut checked = Self { template, given: BTreeMap::new(), findings: Vec::new() };
        let mistakes = checked.mistakes(path);
        checked.findings = match mistakes {
            Err(problem) => {
                let remedy = "correct the file; docs/deploy.md has an example";
                vec![Finding::failure(CHECK, format!("{} {problem}", path.display()), remedy)]
            }
            Ok(mistakes) if mistakes.is_empty() => {
                let text = format!("all {} are well formed, and every function accepts them", checked.given.len());
                vec![Finding::ok(CHECK, text)]
            }
            Ok(mistakes) => mistakes,
        };
        Ok(checked)
    }

    /// Writes all parameters of the template, even those that the file omits. For an omitted parameter, SAM CLI would
    /// keep the value of the previous deployment instead of setting the default.
    pub(super) fn written(&self, format: Format) -> String {
        let in_order = self.template.parameters.iter().map(|parameter| {
            let deployed = self.given.get(&parameter.name).map_or(&parameter.default, |given| &given.deployed);
            (parameter.name.as_str(), deployed.as_str())
        });
        written::write(&in_order.collect::<Vec<_>>(), format)
    }

    /// Writes the parameters as an option of sam deploy, for a shell.
    pub(super) fn option(&self) -> String {
        format!("--parameter-overrides {}", written::quoted(&self.written(Format::Sam)))
    }

    /// Returns the parameters that reserve concurrent executions, and the total number of executions that they reserve.
    pub(super) fn reserved(&self) -> (Vec<&str>, u64) {
        let names = self.deployed().filter_map(|function| function.reserved.as_deref());
        let number = |name: &str| self.value(name).parse::<u64>().ok().filter(|number| *number > 0);
        let reserved: Vec<_> = names.filter_map(|name| Some((name, number(name)?))).collect();
        let total = reserved.iter().map(|(_, number)| number).sum();
        (reserved.into_iter().map(|(name, _)| name).collect(), total)
    }

    /// The functions that the template deploys with these parameters.
    fn deployed(&self) -> impl Iterator<Item = &Function> {
        let is_deployed = |function: &&Function| {
            function.deployed_if.as_deref().is_none_or(|parameter| !self.value(parameter).is_empty())
        };
        self.template.functions.iter().filter(is_deployed)
    }

    /// The value that the functions see.
    fn value(&self, name: &str) -> &str {
        let default = || self.template.parameter(name).map_or("", |parameter| &parameter.default);
        self.given.get(name).map_or_else(default, |given| &given.text)
    }

    /// Reads the file. Returns all mistakes in it, or why it cannot be read.
    fn mistakes(&mut self, path: &Path) -> Result<Vec<Finding>, String> {
        let mut found = Found { file: path.display().to_string(), ..Found::default() };
        for (name, value) in file::read(path)? {
            let Some(parameter) = self.template.parameter(&name) else {
                found.unknown(&name, self.template.nearest(&name));
                continue;
            };
            match file::given(parameter, &value) {
                Ok(given) => drop(self.given.insert(name, given)),
                Err(problem) => found.add(&name, problem),
            }
        }
        let unreadable: Vec<String> = found.problems.iter().map(|(name, _)| name.clone()).collect();
        let is_unreadable = |name: &str| unreadable.iter().any(|unreadable| unreadable == name);
        // `DefaultReturnTo` (the address to which people go after sign-in) must belong to an allowed origin. So it
        // cannot be checked if the parameters with the origins are unreadable.
        let is_unclear = |name: &str| {
            is_unreadable(name) || name == "DefaultReturnTo" && ORIGINS.iter().any(|origin| is_unreadable(origin))
        };
        let functions: Vec<_> = self.deployed().collect();
        for function in &functions {
            for mistake in functions::mistakes(function, |name| self.value(name)) {
                match mistake.parameter.as_deref() {
                    Some(name) if is_unclear(name) => {}
                    Some(name) if self.given.get(name).is_some_and(|given| given.is_structured) => {
                        found.add(name, without_place(&mistake.problem));
                    }
                    Some(name) => found.add(name, mistake.problem),
                    None => found.add(&function.name, mistake.problem),
                }
            }
        }
        for parameter in &self.template.parameters {
            let problem = match self.given.get(&parameter.name) {
                Some(given) => parameter.broken_rule(&given.deployed),
                None => parameter.is_required.then(|| "is missing, and has no default".to_owned()),
            };
            if let Some(problem) = problem {
                found.add_rule(&parameter.name, problem);
            }
        }
        if let Some(mistake) = functions::too_large(&functions, |name| self.value(name)) {
            found.add_rule(&mistake.parameter.unwrap_or_default(), mistake.problem);
        }
        for rule in &self.template.rules {
            if !self.value(&rule.given).is_empty() && self.value(&rule.parameter) == rule.wrong {
                found.add_rule(&rule.parameter, format!("breaks a rule: {}", rule.problem));
            }
        }
        Ok(found.in_order(&self.template))
    }
}

/// The mistakes found so far.
#[derive(Default)]
struct Found {
    file: String,
    unknown: Vec<Finding>,
    /// The name of a parameter, and a text about its problem. The text completes the sentence "the parameter …".
    problems: Vec<(String, String)>,
}

impl Found {
    fn unknown(&mut self, name: &str, nearest: Option<&str>) {
        let remedy = match nearest {
            Some(nearest) => format!("is {nearest} meant? SAM ignores unknown parameters"),
            None => "remove it: SAM ignores unknown parameters".to_owned(),
        };
        self.unknown.push(Finding::failure(CHECK, format!("{name} is no parameter of the template"), remedy));
    }

    /// Adds a problem once, even if several functions report it.
    fn add(&mut self, name: &str, problem: String) {
        let problem = (name.to_owned(), problem);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Reports that a parameter breaks a rule of the template. Does nothing if a function has already reported a
    /// problem with the parameter, because the function's message is more specific.
    fn add_rule(&mut self, name: &str, problem: String) {
        if !self.problems.iter().any(|(reported, _)| reported == name) {
            self.add(name, problem);
        }
    }

    fn in_order(mut self, template: &Template) -> Vec<Finding> {
        let place = |name: &str| template.parameters.iter().position(|parameter| parameter.name == name);
        self.problems.sort_by_key(|(name, _)| place(name));
        let finding = |(name, problem): (String, String)| {
            let description = template.parameter(&name).map_or("", |parameter| &parameter.description);
            Finding::failure(CHECK, format!("{name} {problem}"), format!("correct it in {}: {description}", self.file))
        };
        self.unknown.into_iter().chain(self.problems.into_iter().map(finding)).collect()
    }
}

/// Removes the line and column numbers from the end of an error message about JSON. They refer to text that the user
/// has not written.
fn without_place(problem: &str) -> String {
    match problem.rsplit_once(" at line ") {
        Some((before, place)) if place.chars().all(|c| c.is_ascii_digit() || " ,column".contains(c)) => {
            before.to_owned()
        }
        _ => problem.to_owned(),
    }
}
