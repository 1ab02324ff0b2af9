//! Reads environment variables, and collects all mistakes in them, so that an operator sees the mistakes together.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Display;
use std::str::FromStr;

/// The mistake in one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableError {
    /// The name of the variable.
    pub variable: &'static str,
    /// A description of the mistake.
    pub problem: String,
}

/// All mistakes in the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct SettingsError(Vec<VariableError>);

impl SettingsError {
    /// Returns the mistakes.
    #[must_use]
    pub fn variables(&self) -> &[VariableError] {
        &self.0
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is incomplete or wrong; correct these variables (docs/configuration.md):")?;
        for error in &self.0 {
            write!(f, "\n  {} {}", error.variable, error.problem)?;
        }
        Ok(())
    }
}

/// Prints the same text as `Display`. If `main` returns an error, Rust prints it with `Debug`, and an operator must be
/// able to read it.
impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SettingsError {}

/// Renamed variables: for each one, the old name, which Flexgate still reads, and the new name.
const RENAMED: [(&str, &str); 1] = [("FLEXGATE_AHEAD_MILLISECONDS", "FLEXGATE_PREWARM_MILLISECONDS")];

/// The environment variables, and the mistakes found in them so far.
#[derive(Debug)]
pub struct Reader {
    variables: BTreeMap<String, String>,
    errors: Vec<VariableError>,
}

impl Reader {
    /// Reads the environment variables of this process. Variables that are not valid Unicode are ignored.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(text).collect(), errors: Vec::new() }
    }

    /// Adds these variables. A new value replaces an old value of the same variable.
    #[must_use]
    pub fn with<N: Into<String>, V: Into<String>>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Makes a reader without variables. Use it to check settings that are not those of this process.
    #[must_use]
    pub fn empty() -> Self {
        Self { variables: BTreeMap::new(), errors: Vec::new() }
    }

    /// Returns the variable's text. If the variable was renamed, its old name also counts. An empty variable counts as
    /// not set.
    #[must_use]
    pub fn text(&self, variable: &str) -> Option<&str> {
        let set = |name: &str| self.variables.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let old = || RENAMED.iter().find(|(_, new)| *new == variable).and_then(|(old, _)| set(old));
        set(variable).or_else(old)
    }

    /// Returns the old and the new name of each renamed variable that is still set under its old name, so that the
    /// caller can log a warning.
    #[must_use]
    pub fn old_names(&self) -> Vec<(&'static str, &'static str)> {
        RENAMED.into_iter().filter(|(old, _)| self.variables.get(*old).is_some_and(|text| !text.is_empty())).collect()
    }

    /// Reads a variable that must be set. `hint` describes the variable, and is part of the message if the variable
    /// is not set.
    pub fn required<T: FromStr<Err: Display>>(&mut self, variable: &'static str, hint: &str) -> Option<T> {
        if self.text(variable).is_none() {
            return self.wrong(variable, format!("is not set: {hint}"));
        }
        self.parsed(variable, str::parse)
    }

    /// Reads a variable, or returns `default` if the variable is not set.
    pub fn or<T: FromStr<Err: Display>>(&mut self, variable: &'static str, default: T) -> Option<T> {
        if self.text(variable).is_none() { Some(default) } else { self.parsed(variable, str::parse) }
    }

    /// Reads an optional variable with `read`. Returns `Some(None)` if the variable is not set, and `None` if its
    /// value is wrong.
    pub fn optional<T, E: Display>(
        &mut self,
        variable: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        if self.text(variable).is_none() { Some(None) } else { self.parsed(variable, read).map(Some) }
    }

    /// Reads a whole number of seconds within `bounds`. Returns `default` if the variable is not set.
    pub fn seconds(
        &mut self,
        variable: &'static str,
        default: u32,
        bounds: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        self.bounded(variable, default, bounds, "seconds")
    }

    /// Reads a whole number of milliseconds within `bounds`. Returns `default` if the variable is not set.
    pub fn milliseconds(
        &mut self,
        variable: &'static str,
        default: u32,
        bounds: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        self.bounded(variable, default, bounds, "milliseconds")
    }

    fn bounded(
        &mut self,
        variable: &'static str,
        default: u32,
        bounds: std::ops::RangeInclusive<u32>,
        unit: &str,
    ) -> Option<u32> {
        let number = self.or(variable, default)?;
        if bounds.contains(&number) {
            return Some(number);
        }
        self.wrong(variable, format!("must be from {} to {} {unit}", bounds.start(), bounds.end()))
    }

    /// Records a mistake, and returns `None`.
    pub fn wrong<T>(&mut self, variable: &'static str, problem: impl Into<String>) -> Option<T> {
        self.errors.push(VariableError { variable, problem: problem.into() });
        None
    }

    /// Returns the settings if there was no mistake. Otherwise returns all mistakes.
    pub fn finish<T>(self, settings: Option<T>) -> Result<T, SettingsError> {
        match settings {
            Some(settings) if self.errors.is_empty() => Ok(settings),
            _ => Err(SettingsError(self.errors)),
        }
    }

    /// Parses a variable that is set.
    fn parsed<T, E: Display>(&mut self, variable: &'static str, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text(variable)?.trim().to_owned();
        read(&text).map_err(|error| self.wrong::<T>(variable, error.to_string())).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_read_under_its_old_name_too_and_the_new_one_wins() {
        let number = |variables: &[(&str, &str)]| {
            let mut reader = Reader::empty().with(variables.iter().copied());
            let old = reader.old_names();
            (reader.milliseconds("FLEXGATE_PREWARM_MILLISECONDS", 1_000, 0..=5_000), old)
        };
        let renamed = vec![("FLEXGATE_AHEAD_MILLISECONDS", "FLEXGATE_PREWARM_MILLISECONDS")];
        assert_eq!(number(&[]), (Some(1_000), vec![]));
        assert_eq!(number(&[("FLEXGATE_PREWARM_MILLISECONDS", "7")]), (Some(7), vec![]));
        assert_eq!(number(&[("FLEXGATE_AHEAD_MILLISECONDS", "8")]), (Some(8), renamed.clone()));
        let both = [("FLEXGATE_AHEAD_MILLISECONDS", "8"), ("FLEXGATE_PREWARM_MILLISECONDS", "7")];
        assert_eq!(number(&both), (Some(7), renamed));
    }
}
