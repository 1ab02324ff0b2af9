//! The description of `/webhooks/{source}`.

use flexgate::web::kinds;
use flexgate::web::openapi::{UPSTREAM, problems, security};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

use crate::routes::deliver;

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
        kinds::TOKEN_INVALID,
        kinds::SUBJECT_FORBIDDEN,
        kinds::SUBJECT_UNKNOWN,
        kinds::SUBJECT_UNSUPPORTED,
    ];
    problems(&mut api, "POST", path, &[&delivery, UPSTREAM]);
    problems(&mut api, "GET", path, &[&[kinds::SOURCE_UNKNOWN, kinds::CHALLENGE_INVALID], UPSTREAM]);
    let signature = ApiKeyValue::with_description(
        "webhook-signature",
        "Standard Webhooks, with `webhook-id` and `webhook-timestamp`. For other kinds of source, see docs/webhooks.md.",
    );
    security(&mut api, "webhook", SecurityScheme::ApiKey(ApiKey::Header(signature)));
    api
}
