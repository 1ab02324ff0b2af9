//! The problem document that a client gets when the store fails.

use std::time::Duration;

use super::StoreError;
use crate::web::{Problem, kinds};

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        let detail = "Flexgate's store is not available at the moment. Try again.";
        Self::new(kinds::UNAVAILABLE, detail).because(error).retry_after(Some(Duration::from_secs(5)))
    }
}
