//! Any source that signs like Standard Webhooks. Only the configuration says where its payload contains each field and
//! what its event types mean.

use super::standard::Standard;
use crate::settings::SourceSettings;

pub(super) fn source(settings: &SourceSettings) -> Standard {
    Standard::with(&[], &[], settings)
}
