//! Collects the mistakes in `FLEXGATE_ISSUERS`. An operator then sees all of them at once, not only the first.

/// One mistake in the configuration of the issuers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsFault {
    /// Which setting is wrong, like `[0].audiences`.
    pub place: String,
    /// What is wrong with the setting, or what it must be.
    pub problem: String,
}

/// The mistakes of one issuer.
#[derive(Default)]
pub(super) struct Faults(Vec<SettingsFault>);

impl Faults {
    pub(super) fn add<T>(&mut self, place: &str, problem: impl Into<String>) -> Option<T> {
        self.0.push(SettingsFault { place: place.into(), problem: problem.into() });
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_list(self) -> Vec<SettingsFault> {
        self.0
    }
}
