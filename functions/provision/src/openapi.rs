//! The description of `/users`.

use std::collections::BTreeMap;

use flexgate::web::kinds;
use flexgate::web::openapi::{BODY, Email, Name, UPSTREAM, link, problems};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::users;

/// A user as it should be.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Desired {
    /// The key under which Twilio knows the user. Compared exactly.
    #[schema(value_type = Name, example = "ada")]
    username: String,
    #[schema(value_type = Email, example = "ada@example.com")]
    email: String,
    #[schema(value_type = Name, example = "Ada Lovelace")]
    full_name: String,
    /// At least one, each among `FLEXGATE_ALLOWED_ROLES`.
    #[schema(min_items = 1, example = json!(["agent"]))]
    roles: Vec<Role>,
    worker: Option<Worker>,
}

/// A role that Flexgate can give.
#[derive(ToSchema, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Agent,
    Supervisor,
    Admin,
}

/// The user's TaskRouter worker.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
struct Worker {
    /// Keys carry their type, as Flex takes them; values are strings, numbers and booleans.
    #[schema(value_type = Option<BTreeMap<String, Attribute>>, example = json!({ "language.string": "en" }))]
    attributes: Option<BTreeMap<String, Value>>,
}

/// A worker attribute.
#[derive(ToSchema, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
enum Attribute {
    Text(String),
    Number(f64),
    Flag(bool),
}

/// How to find users.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Listing {
    /// Only the user of exactly this username; the other parameters are then unused.
    #[param(value_type = Option<Name>, example = "ada")]
    username: Option<String>,
    /// How many users to a page; 50 if not given.
    #[param(minimum = 1, maximum = 1000, example = 50)]
    page_size: Option<u16>,
    /// The `next_page_token` of the page before.
    #[param(max_length = 1024)]
    page_token: Option<String>,
}

/// Which user.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Named {
    /// The user, by SID.
    #[param(pattern = "^FU[0-9a-fA-F]{32}$", example = "FU00000000000000000000000000000001")]
    flex_user_sid: String,
}

#[derive(OpenApi)]
#[openapi(paths(users::provision, users::list, users::show, users::deprovision))]
struct Document;

/// The function's part of the OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut api = Document::openapi();
    let caller = [kinds::TOKEN_INVALID, kinds::SCOPE_MISSING, kinds::TOO_LARGE];
    let desired = [kinds::ROLE_FORBIDDEN, kinds::USER_AMBIGUOUS, kinds::TWILIO_REFUSED];
    problems(&mut api, "POST", "/users", &[BODY, &caller[..2], &desired, UPSTREAM]);
    problems(
        &mut api,
        "GET",
        "/users",
        &[&[kinds::QUERY_INVALID, kinds::PAGE_UNKNOWN, kinds::USER_AMBIGUOUS], &caller, UPSTREAM],
    );
    for method in ["GET", "DELETE"] {
        problems(&mut api, method, "/users/{flex_user_sid}", &[&[kinds::USER_UNKNOWN], &caller, UPSTREAM]);
    }
    for status in ["200", "201"] {
        for named in ["show_user", "deprovision"] {
            link(&mut api, ("POST", "/users", status), named, &[("flex_user_sid", "$response.body#/flex_user_sid")]);
        }
    }
    link(&mut api, ("GET", "/users", "200"), "list_users", &[("page_token", "$response.body#/next_page_token")]);
    api.merge(crate::scim::openapi::document());
    api
}
