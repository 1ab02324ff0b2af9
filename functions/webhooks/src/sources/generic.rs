//! Any source that signs like Standard Webhooks. Configuration alone says where its payload keeps each field and what
//! its event types mean.

use super::standard::Standard;
use crate::settings::SourceSettings;

pub(super) fn source(settings: &SourceSettings) -> Standard {
    Standard::with(&[], &[], settings)
}
