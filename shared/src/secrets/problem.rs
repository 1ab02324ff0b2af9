//! The problem document for a secret that cannot be used.

use std::time::Duration;

use super::SecretError;
use crate::web::{Problem, kinds};

impl From<&SecretError> for Problem {
    fn from(error: &SecretError) -> Self {
        let detail = "Flexgate's keys cannot be read at the moment. Try again.";
        Self::new(kinds::UNAVAILABLE, detail).because(error).retry_after(Some(Duration::from_secs(5)))
    }
}
