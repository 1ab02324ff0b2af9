//! The OpenAPI description of `/users` and `/sessions`.

use flexgate::web::kinds;
use flexgate::web::openapi::{BODY, UPSTREAM, link, problems};
use utoipa::OpenApi;

use crate::routes::{explain, listing, scim, sessions, users};

#[derive(OpenApi)]
#[openapi(paths(
    users::provision,
    listing::list,
    users::show,
    users::deprovision,
    explain::explain,
    sessions::list,
    sessions::of_user,
    sessions::end,
    sessions::end_of_user
))]
struct Document;

/// This function's part of the OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut api = Document::openapi();
    let caller = [kinds::TOKEN_INVALID, kinds::SCOPE_MISSING, kinds::NOT_CONFIGURED, kinds::TOO_LARGE];
    let desired = [
        kinds::ROLE_FORBIDDEN,
        kinds::USERNAME_FORBIDDEN,
        kinds::USER_AMBIGUOUS,
        kinds::USER_INACTIVE,
        kinds::LAST_ADMIN,
        kinds::TWILIO_REFUSED,
    ];
    problems(&mut api, "POST", "/users", &[BODY, &caller[..3], &desired, UPSTREAM]);
    problems(
        &mut api,
        "GET",
        "/users",
        &[&[kinds::QUERY_INVALID, kinds::PAGE_UNKNOWN, kinds::USER_AMBIGUOUS], &caller, UPSTREAM],
    );
    problems(&mut api, "GET", "/users/{flex_user_sid}", &[&[kinds::USER_UNKNOWN], &caller, UPSTREAM]);
    problems(&mut api, "GET", "/users/{flex_user_sid}/explain", &[&[kinds::USER_UNKNOWN], &caller, UPSTREAM]);
    let leaves = [kinds::USER_UNKNOWN, kinds::USERNAME_FORBIDDEN, kinds::LAST_ADMIN];
    problems(&mut api, "DELETE", "/users/{flex_user_sid}", &[&leaves, &caller, UPSTREAM]);
    let page = [kinds::QUERY_INVALID, kinds::PAGE_UNKNOWN, kinds::USER_AMBIGUOUS];
    problems(&mut api, "GET", "/sessions", &[&page, &caller, UPSTREAM]);
    problems(&mut api, "GET", "/users/{flex_user_sid}/sessions", &[&[kinds::USER_UNKNOWN], &caller, UPSTREAM]);
    let ends = [kinds::QUERY_INVALID, kinds::USERNAME_FORBIDDEN, kinds::USER_UNKNOWN];
    problems(&mut api, "DELETE", "/users/{flex_user_sid}/sessions", &[&ends, &caller, UPSTREAM]);
    let ends = [kinds::QUERY_INVALID, kinds::USERNAME_FORBIDDEN, kinds::SESSION_UNKNOWN, kinds::USER_UNKNOWN];
    problems(&mut api, "DELETE", "/sessions/{session_id}", &[&ends, &caller, UPSTREAM]);
    for status in ["200", "201"] {
        for named in ["show_user", "deprovision"] {
            link(&mut api, ("POST", "/users", status), named, &[("flex_user_sid", "$response.body#/flex_user_sid")]);
        }
    }
    link(&mut api, ("GET", "/users", "200"), "list_users", &[("page_token", "$response.body#/next_page_token")]);
    link(&mut api, ("GET", "/sessions", "200"), "list_sessions", &[("page_token", "$response.body#/next_page_token")]);
    api.merge(scim::openapi::document());
    api
}
