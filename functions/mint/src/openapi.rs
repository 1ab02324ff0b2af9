//! The description of `POST /token`.

use flexgate::web::kinds;
use flexgate::web::openapi::{BODY, Name, UPSTREAM, body_may_be_absent, problems};
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

/// What to mint. Without any body: a token for the caller, of an hour at most.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Asked {
    /// How long it is to live, in seconds. Bounded by the settings and by the caller's own token.
    #[schema(minimum = 60, maximum = 86_400, example = 3600)]
    ttl: Option<u32>,
    /// For whom. Somebody else needs the scope `flexgate.token.any`.
    #[schema(value_type = Option<Name>)]
    username: Option<String>,
    /// Fewer roles than the caller has.
    #[schema(min_items = 1, example = json!(["agent"]))]
    roles: Option<Vec<Role>>,
}

/// A role that Flexgate can give.
#[derive(ToSchema, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Agent,
    Supervisor,
    Admin,
}

#[derive(OpenApi)]
#[openapi(paths(crate::mint))]
struct Document;

/// The function's part of the OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut api = Document::openapi();
    let own = [
        kinds::TOKEN_INVALID,
        kinds::SCOPE_MISSING,
        kinds::MINT_REFUSED,
        kinds::ROLE_FORBIDDEN,
        kinds::USER_AMBIGUOUS,
        kinds::TOO_MANY_REQUESTS,
    ];
    problems(&mut api, "POST", "/token", &[BODY, &own, UPSTREAM]);
    body_may_be_absent(&mut api, "POST", "/token");
    api
}
