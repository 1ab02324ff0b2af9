//! The description of the sign-in routes.

use flexgate::web::kinds;
use flexgate::web::openapi::{BODY, UPSTREAM, parameter, problems, security};
use utoipa::OpenApi;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{OneOfBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{ObjectBuilder, Required};

use crate::routes::{browser, token};
use crate::signin::{LOGIN_COOKIE, SESSION_COOKIE};

#[derive(OpenApi)]
#[openapi(paths(browser::login, browser::callback, browser::config, token::token, token::validate, token::logout))]
struct Document;

/// Describes the query parameters that Twilio adds to the callback's URL. Each property of the schema is one parameter.
fn outcome() -> ParameterBuilder {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    let either = |name: &str, description: &str| {
        ObjectBuilder::new()
            .property("state", text("The `state` with which the login started."))
            .property(name, text(description))
            .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)))
            .required("state")
            .required(name)
    };
    let schema = OneOfBuilder::new()
        .item(either("code", "The authorization code."))
        .item(either("error", "Why Twilio issued no code."));
    ParameterBuilder::new()
        .name("outcome")
        .parameter_in(ParameterIn::Query)
        .required(Required::True)
        .style(Some(ParameterStyle::Form))
        .explode(Some(true))
        .description(Some("The outcome of the login."))
        .schema(Some(schema))
}

#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut api = Document::openapi();
    let mut add = |method, path, kinds: &[_]| problems(&mut api, method, path, &[kinds, UPSTREAM]);
    add("GET", "/sso/{profile}/config", &[kinds::PROFILE_UNKNOWN]);
    let allowed = [kinds::SIGN_IN_LOCKED, kinds::NETWORK_FORBIDDEN];
    let login = [kinds::PROFILE_UNKNOWN, kinds::QUERY_INVALID, kinds::TOO_MANY_REQUESTS, allowed[0], allowed[1]];
    add("GET", "/sso/{profile}/login", &login);
    let callback = [
        kinds::PROFILE_UNKNOWN,
        kinds::QUERY_INVALID,
        kinds::LOGIN_INVALID,
        kinds::LOGIN_REFUSED,
        kinds::LOGIN_REJECTED,
        allowed[0],
        allowed[1],
        kinds::TOO_MANY_REQUESTS,
    ];
    add("GET", "/sso/{profile}/callback", &callback);
    let session = [kinds::CROSS_SITE, kinds::NOT_SIGNED_IN, kinds::REAUTHENTICATE, kinds::SIGNED_IN_ELSEWHERE];
    problems(&mut api, "POST", "/sso/token", &[&session, &allowed, UPSTREAM]);
    let mut add = |method, path, kinds: &[_]| problems(&mut api, method, path, &[kinds, UPSTREAM]);
    add("POST", "/sso/logout", &[kinds::CROSS_SITE]);
    parameter(&mut api, "GET", "/sso/{profile}/callback", outcome());
    let validate = [kinds::FLEX_TOKEN_INVALID, kinds::TOO_MANY_REQUESTS];
    problems(&mut api, "POST", "/sso/validate", &[BODY, &validate, UPSTREAM]);
    security(&mut api, "session", cookie(SESSION_COOKIE, SESSION));
    security(&mut api, "login", cookie(&format!("{LOGIN_COOKIE}{{id}}"), LOGIN));
    api
}

const LOGIN: &str = "Set by the login. Each pending login has a cookie of its own, whose name ends with its number.";
const SESSION: &str = "Set by the callback. HttpOnly: the browser sends it, and no script can read it.";

fn cookie(name: &str, description: &str) -> SecurityScheme {
    SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(name, description)))
}
