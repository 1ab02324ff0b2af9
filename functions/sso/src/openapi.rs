//! The description of the sign-in routes.

use flexgate::web::kinds;
use flexgate::web::openapi::{BODY, UPSTREAM, parameter, problems};
use serde::Deserialize;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{OneOfBuilder, Type};
use utoipa::openapi::{ObjectBuilder, Required};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::{browser, token};

/// Which SSO profile.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Profile {
    /// A profile that `FLEXGATE_SSO_PROFILES` names.
    #[param(min_length = 1, example = "default")]
    profile: String,
}

/// How to begin.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Login {
    /// Where to go afterwards: a path of this site. Anything else is replaced by `/`.
    #[param(example = "/")]
    return_to: Option<String>,
}

/// What proves that a page of a listed origin asks.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct SameSite {
    /// Always `1`: no form can send it.
    #[param(rename = "x-flexgate", pattern = "^1$", example = "1")]
    x_flexgate: String,
    /// Browsers send it by themselves. Flexgate's own, or one of `FLEXGATE_ALLOWED_ORIGINS`.
    #[param(rename = "origin", example = "http://localhost:9000")]
    origin: String,
}

/// A token to check.
#[derive(ToSchema, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what the handler reads field by field")]
pub(crate) struct Unverified {
    /// A Flex access token.
    #[schema(min_length = 1, max_length = 8192, pattern = "^[!-~]+$", example = "eyJ6aXAiOiJERUYi")]
    token: String,
}

#[derive(OpenApi)]
#[openapi(paths(browser::login, browser::callback, browser::config, token::token, token::validate, token::logout))]
struct Document;

/// What Twilio sends along: `state`, and either `code` or `error`. Each member is a parameter of its own.
fn outcome() -> ParameterBuilder {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    let either = |name: &str, description: &str| {
        ObjectBuilder::new()
            .property("state", text("What the login was begun with."))
            .property(name, text(description))
            .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)))
            .required("state")
            .required(name)
    };
    let schema = OneOfBuilder::new()
        .item(either("code", "The authorization code."))
        .item(either("error", "Why there is no code."));
    ParameterBuilder::new()
        .name("outcome")
        .parameter_in(ParameterIn::Query)
        .required(Required::True)
        .style(Some(ParameterStyle::Form))
        .explode(Some(true))
        .description(Some("What became of the login, as Twilio says it."))
        .schema(Some(schema))
}

/// The function's part of the OpenAPI document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut api = Document::openapi();
    let mut add = |method, path, kinds: &[_]| problems(&mut api, method, path, &[kinds, UPSTREAM]);
    add("GET", "/sso/{profile}/config", &[kinds::PROFILE_UNKNOWN]);
    add("GET", "/sso/{profile}/login", &[kinds::PROFILE_UNKNOWN, kinds::QUERY_INVALID]);
    let callback = [
        kinds::PROFILE_UNKNOWN,
        kinds::QUERY_INVALID,
        kinds::LOGIN_INVALID,
        kinds::LOGIN_REFUSED,
        kinds::LOGIN_REJECTED,
    ];
    add("GET", "/sso/{profile}/callback", &callback);
    add("POST", "/sso/token", &[kinds::CROSS_SITE, kinds::NOT_SIGNED_IN, kinds::REAUTHENTICATE]);
    add("POST", "/sso/logout", &[kinds::CROSS_SITE]);
    parameter(&mut api, "GET", "/sso/{profile}/callback", outcome());
    problems(&mut api, "POST", "/sso/validate", &[BODY, &[kinds::FLEX_TOKEN_INVALID], UPSTREAM]);
    api
}
