//! Formats an error and its causes, for a log line or an operator.

use std::error::Error;

/// Joins the messages of the error and its causes with `: `.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn every_cause_is_named_in_order() {
        let inner = Layer("the file is missing", None);
        let outer = Layer("the settings cannot be read", Some(Box::new(inner)));
        assert_eq!(with_causes(&outer), "the settings cannot be read: the file is missing");
    }
}
