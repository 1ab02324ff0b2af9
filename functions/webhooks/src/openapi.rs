//! The description of `/webhooks/{source}`.

use flexgate::web::kinds;
use flexgate::web::openapi::{UPSTREAM, problems, security};
use serde::Serialize;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::deliver;

/// Which source.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Source {
    /// A source that `FLEXGATE_WEBHOOKS` names.
    #[param(pattern = "^[a-z0-9-]{1,32}$", example = "standard")]
    source: String,
}

/// Which source, for a challenge.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Challenger {
    /// A source of the kind `okta` that `FLEXGATE_WEBHOOKS` names.
    #[param(pattern = "^[a-z0-9-]{1,32}$", example = "okta")]
    source: String,
}

/// How Okta checks an address.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Challenge {
    /// Comes back in the answer.
    #[param(rename = "x-okta-verification-challenge", pattern = "^[!-~]{1,1024}$", example = "5f1c7d0e8a9b")]
    challenge: String,
}

/// A delivery is in the queue.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// How many events of it were queued.
    accepted: usize,
}

/// The answer to a challenge.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verification {
    /// The challenge.
    verification: String,
}

#[derive(OpenApi)]
#[openapi(paths(deliver::receive, deliver::challenge))]
struct Document;

/// The function's part of the OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut api = Document::openapi();
    let path = "/webhooks/{source}";
    let delivery = [
        kinds::SOURCE_UNKNOWN,
        kinds::DELIVERY_UNPROVEN,
        kinds::BODY_MALFORMED,
        kinds::TOO_LARGE,
        kinds::UNSUPPORTED_MEDIA_TYPE,
    ];
    problems(&mut api, "POST", path, &[&delivery, UPSTREAM]);
    problems(&mut api, "GET", path, &[&[kinds::SOURCE_UNKNOWN, kinds::CHALLENGE_INVALID], UPSTREAM]);
    let signature = ApiKeyValue::with_description(
        "webhook-signature",
        "Standard Webhooks, with `webhook-id` and `webhook-timestamp`. Each kind of source has its own proof: docs/webhooks.md.",
    );
    security(&mut api, "webhook", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    api
}
