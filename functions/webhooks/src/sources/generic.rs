//! Any source that signs like Standard Webhooks. Only the configuration says where the payload contains each field and
//! what each event type means.

use super::standard::Standard;
use crate::settings::SourceSettings;

pub(super) fn source(settings: &SourceSettings) -> Standard {
    Standard::with(&[], &[], settings)
}
