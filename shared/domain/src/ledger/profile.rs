//! Decides which source determines the e-mail address, name, locale and worker attributes.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::source::{Source, SourceKind};
use super::statement::Statement;
use crate::event::Moment;

/// The order of priority of the kinds of source, for profile fields. If several kinds state a value for the same
/// field, the kind with the highest priority wins. Within one kind, the latest value wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourcePriority([SourceKind; 5]);

impl Default for SourcePriority {
    /// SCIM, claims, webhooks, the API, operators.
    fn default() -> Self {
        Self(SourceKind::ALL)
    }
}

impl FromStr for SourcePriority {
    type Err = &'static str;

    /// Parses a comma-separated list of kinds, with the highest priority first. Missing kinds follow in the default
    /// order.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MUST: &str =
            "must be a comma-separated list of scim, claims, webhook, api and operator, each at most once";
        let mut order: Vec<SourceKind> = Vec::new();
        for name in text.split(',').map(str::trim) {
            let kind = name.parse().map_err(|_| MUST)?;
            if order.contains(&kind) {
                return Err(MUST);
            }
            order.push(kind);
        }
        order.extend(SourceKind::ALL.into_iter().filter(|kind| !order.contains(kind)).collect::<Vec<_>>());
        order.try_into().map(Self).map_err(|_| MUST)
    }
}

impl SourcePriority {
    fn rank(self, kind: SourceKind) -> usize {
        self.0.iter().position(|one| *one == kind).unwrap_or(self.0.len())
    }

    /// Returns the value from the source with the highest priority, and that source. `None` if no source mentions the
    /// field. A source can also win by stating that the field is empty.
    pub(super) fn choose<'a, T>(
        self,
        statements: &'a BTreeMap<Source, Statement>,
        says: impl Fn(&'a Statement) -> Option<(&'a Moment, T)>,
    ) -> Option<(&'a Source, T)> {
        statements
            .iter()
            .filter_map(|(source, statement)| says(statement).map(|(moment, value)| (source, moment, value)))
            .min_by(|(a, a_at, _), (b, b_at, _)| {
                self.rank(a.kind()).cmp(&self.rank(b.kind())).then_with(|| b_at.cmp(a_at)).then_with(|| a.cmp(b))
            })
            .map(|(source, _, value)| (source, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_may_name_some_kinds_and_none_twice() {
        let order: SourcePriority = "webhook, api".parse().unwrap();
        assert_eq!(order.rank(SourceKind::Webhook), 0);
        assert_eq!(order.rank(SourceKind::Scim), 2);
        for wrong in ["", "scim,scim", "okta"] {
            assert!(wrong.parse::<SourcePriority>().is_err(), "{wrong}");
        }
    }
}
