//! Any other source that uses the signatures of Standard Webhooks. Only the configuration describes its payload and
//! event types.

use super::standard::Standard;
use crate::settings::SourceSettings;

pub(super) fn source(settings: &SourceSettings) -> Standard {
    Standard::with(&[], &[], settings)
}
