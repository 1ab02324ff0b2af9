//! Collects all mistakes in `FLEXGATE_ISSUERS`, so that an operator can correct them together.

/// One mistake in the issuers' settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingsFault {
    /// The path of the wrong setting, such as `[0].audiences`.
    pub place: String,
    /// What is wrong, or the allowed values.
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
