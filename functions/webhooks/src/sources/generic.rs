//! Anything that signs as Standard Webhooks says: where its payload keeps what, and what its event
//! types mean, is configuration and nothing else.

use super::standard::Standard;
use crate::settings::SourceSettings;

pub(super) fn source(settings: &SourceSettings) -> Standard {
    Standard::with(&[], &[], settings)
}
