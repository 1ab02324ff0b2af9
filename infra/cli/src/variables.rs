//! Finds misspelt environment variables: names with Flexgate's prefix that docs/configuration.md does not contain.

use std::collections::BTreeSet;

/// The page with all variables. `tests/check.py` checks that the page is complete.
const PAGE: &str = include_str!("../../../docs/configuration.md");

const PREFIX: &str = "FLEXGATE_";

/// Variables that only the tests use.
const IGNORED: [&str; 3] = ["FLEXGATE_TEST_", "FLEXGATE_BIN", "FLEXGATE_BOOTSTRAPS"];

/// The minimum similarity (Jaro-Winkler) of a suggested name.
const ALIKE: f64 = 0.85;

/// Returns the unknown names, each with the most similar known name, if any.
pub fn unknown(names: impl IntoIterator<Item = String>) -> Vec<(String, Option<&'static str>)> {
    let known = known();
    let is_unknown = |name: &String| {
        name.starts_with(PREFIX)
            && !known.contains(name.as_str())
            && !IGNORED.iter().any(|ignored| name.starts_with(ignored))
    };
    let nearest = |name: &str| {
        // All names have the same prefix, so compare only the rest.
        let own = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let alike = known.iter().map(|known| (strsim::jaro_winkler(&own(name), &own(known)), *known));
        let (score, known) = alike.max_by(|a, b| a.0.total_cmp(&b.0))?;
        (score >= ALIKE).then_some(known)
    };
    names.into_iter().filter(is_unknown).map(|name| (name.clone(), nearest(&name))).collect()
}

/// Returns the unknown names among this process's variables.
pub fn unknown_here() -> Vec<(String, Option<&'static str>)> {
    unknown(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
}

fn known() -> BTreeSet<&'static str> {
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    PAGE.match_indices(PREFIX)
        .map(|(at, _)| &PAGE[at..at + PAGE[at..].find(|c| !is_name(c)).unwrap_or(PAGE.len() - at)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r95_a_misspelt_variable_is_unknown_and_the_nearest_one_is_named() {
        let judge = |name: &str| unknown([name.to_owned()]).pop().map(|(_, nearest)| nearest);
        assert_eq!(judge("FLEXGATE_MAX_TTL"), Some(Some("FLEXGATE_MAX_TTL_SECONDS")));
        assert_eq!(judge("FLEXGATE_ISSUER"), Some(Some("FLEXGATE_ISSUERS")));
        assert_eq!(judge("FLEXGATE_ALOWED_ROLES"), Some(Some("FLEXGATE_ALLOWED_ROLES")));
        assert_eq!(judge("FLEXGATE_QQQ"), Some(None));
        for name in ["FLEXGATE_MAX_TTL_SECONDS", "FLEXGATE_AHEAD_MILLISECONDS", "FLEXGATE_TEST_X", "PATH", "TWILIO_X"] {
            assert_eq!(judge(name), None, "{name}");
        }
    }
}
