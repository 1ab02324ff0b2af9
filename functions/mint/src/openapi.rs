//! The description of `POST /token`.

use flexgate::web::kinds;
use flexgate::web::openapi::{BODY, UPSTREAM, body_may_be_absent, problems};
use utoipa::OpenApi;

use crate::routes::token;

#[derive(OpenApi)]
#[openapi(paths(token::mint))]
struct Document;

#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut api = Document::openapi();
    let own = [
        kinds::EXCHANGE_INVALID,
        kinds::TOKEN_INVALID,
        kinds::SIGNED_OUT,
        kinds::SCOPE_MISSING,
        kinds::MINT_REFUSED,
        kinds::SIGN_IN_LOCKED,
        kinds::ROLE_FORBIDDEN,
        kinds::USER_AMBIGUOUS,
        kinds::TOO_MANY_REQUESTS,
        kinds::NOT_CONFIGURED,
    ];
    problems(&mut api, "POST", "/token", &[BODY, &own, UPSTREAM]);
    body_may_be_absent(&mut api, "POST", "/token");
    api
}
