//! The company's identity provider, `/idp`: a small `OpenID` Connect provider with a sign-in page and service clients.
//! For tests, it also issues tokens that no real provider would issue.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::web;
use crate::world::{State, World};

mod authorize;
pub(crate) mod clients;
mod dev;
mod jwt;
pub(crate) mod keys;
pub(crate) mod people;
mod token;

use keys::KeyRing;
use people::Person;

/// How long verifiers may cache the JWKS and the metadata.
const JWKS_MAX_AGE: &str = "public, max-age=300";

pub(crate) struct Idp {
    pub(crate) keys: KeyRing,
    pub(crate) people: Vec<Person>,
    requests: Vec<authorize::Request>,
    codes: Vec<authorize::Code>,
}

impl Idp {
    pub(crate) fn new(keys: KeyRing) -> Self {
        Self { keys, people: people::everybody(), requests: Vec::new(), codes: Vec::new() }
    }
}

pub(crate) fn answer(world: &World, call: &Call) -> Response {
    let segments = call.segments();
    match (call.method.as_str(), segments.get(1..).unwrap_or_default()) {
        ("GET", [".well-known", "openid-configuration" | "oauth-authorization-server"]) => discovery(world),
        // In this URL, the issuer's path comes after `.well-known/ssf-configuration` (Shared Signals Framework 1.0
        // §7.2).
        ("GET", ["ssf-configuration", "idp"]) => ssf_configuration(world),
        ("GET", ["jwks"]) => jwks(world),
        ("GET", ["authorize"]) => authorize::begin(world, call),
        ("POST", ["authorize", "decision"]) => authorize::decide(world, call),
        ("POST", ["token"]) => token::answer(world, call),
        ("GET" | "POST", ["userinfo"]) => token::userinfo(world, call),
        ("POST", ["__dev", "token"]) => dev::token(world, call),
        ("POST", ["__dev", "rotate-keys"]) => dev::rotate(world, call),
        ("GET", ["__dev", "people"]) => dev::people(world),
        ("POST", ["__dev", "people"]) => dev::change_person(world, call),
        _ => web::respond(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "the identity provider has no such page"),
    }
}

fn discovery(world: &World) -> Response {
    let issuer = world.issuer();
    let at = |path: &str| format!("{issuer}/{path}");
    let mut response = web::json(
        StatusCode::OK,
        &json!({
            "issuer": issuer, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
            "userinfo_endpoint": at("userinfo"), "jwks_uri": at("jwks"),
            "response_types_supported": ["code"], "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "email", "flexgate.token", "flexgate.token.any", "flexgate.users.read", "flexgate.users.write"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "email", "email_verified",
                "name", "given_name", "family_name", "roles", "groups"],
            "authorization_response_iss_parameter_supported": true,
        }),
    );
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(JWKS_MAX_AGE));
    response
}

/// The metadata that describes the provider as a transmitter of security events.
fn ssf_configuration(world: &World) -> Response {
    let issuer = world.issuer();
    let body = json!({
        "spec_version": "1_0", "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
        "delivery_methods_supported": ["urn:ietf:rfc:8935"],
    });
    let mut response = web::json(StatusCode::OK, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(JWKS_MAX_AGE));
    response
}

fn jwks(world: &World) -> Response {
    let body = world.state().idp.keys.jwks();
    let mut response = web::json(StatusCode::OK, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(JWKS_MAX_AGE));
    response
}

/// Redeems a code for the simulated Twilio, without HTTP. Returns the claims of the ID token, or `None` for an invalid
/// code.
pub(crate) fn redeem_internally(
    state: &mut State,
    code: &str,
    redirect_uri: &str,
    nonce: &str,
) -> Option<Map<String, Value>> {
    let code = authorize::take_code(state, code)?;
    let right = code.client_id == clients::TWILIO_CLIENT_ID
        && code.redirect_uri == redirect_uri
        && code.expires > state.now()
        && code.nonce.as_deref() == Some(nonce);
    if !right {
        return None;
    }
    let person = state.idp.people.iter().find(|person| person.username == code.username)?;
    Some(person.claims())
}
