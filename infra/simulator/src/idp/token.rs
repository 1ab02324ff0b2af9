//! The token endpoint (RFC 6749) and userinfo.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::clients::{self, Client};
use super::people::Person;
use super::{authorize, jwt};
use crate::call::{Call, Form};
use crate::world::{State, World};
use crate::{AUDIENCE, random, web};

const LIFETIME: i64 = 3600;

/// An OAuth error: the HTTP status, `error` and `error_description`.
type Refusal = (StatusCode, &'static str, &'static str);

pub(super) fn answer(world: &World, call: &Call) -> Response {
    let mut response = match grant(world, call) {
        Ok(body) => web::json(StatusCode::OK, &body),
        Err((status, error, description)) => {
            let mut response = web::json(status, &json!({ "error": error, "error_description": description }));
            if status == StatusCode::UNAUTHORIZED {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"idp\""));
            }
            response
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn grant(world: &World, call: &Call) -> Result<Value, Refusal> {
    let form = call.form();
    let client = client(call, &form)?;
    let mut state = world.state();
    match form.get("grant_type") {
        Some("client_credentials") => client_credentials(world, &state, client, &form),
        Some("authorization_code") => authorization_code(world, &mut state, client, &form),
        _ => Err((StatusCode::BAD_REQUEST, "unsupported_grant_type", "authorization_code or client_credentials")),
    }
}

/// Authenticates the client by `client_secret_basic` (form-encoded: RFC 6749, 2.3.1) or `client_secret_post`. A public
/// client has no secret.
fn client(call: &Call, form: &Form) -> Result<&'static Client, Refusal> {
    let wrong = (StatusCode::UNAUTHORIZED, "invalid_client", "unknown client or wrong secret");
    let basic = call.header("authorization").and_then(|value| value.strip_prefix("Basic ")).map(|encoded| {
        let text = web::unb64(encoded.trim()).and_then(|decoded| String::from_utf8(decoded).ok()).unwrap_or_default();
        let (id, secret) = text.split_once(':').map(|(id, secret)| (decode(id), decode(secret))).unwrap_or_default();
        (id, Some(secret))
    });
    let (id, secret) = basic.unwrap_or_else(|| {
        (form.get("client_id").unwrap_or_default().to_owned(), form.get("client_secret").map(str::to_owned))
    });
    let client = clients::find(&id).ok_or(wrong)?;
    if client.secret == secret.as_deref() { Ok(client) } else { Err(wrong) }
}

fn decode(text: &str) -> String {
    let plus = text.replace('+', " ");
    percent_encoding::percent_decode_str(&plus).decode_utf8_lossy().into_owned()
}

fn client_credentials(world: &World, state: &State, client: &Client, form: &Form) -> Result<Value, Refusal> {
    if client.service_scopes.is_empty() {
        return Err((StatusCode::BAD_REQUEST, "unauthorized_client", "not for this client"));
    }
    let scope = match form.get("scope").map(str::trim).filter(|scope| !scope.is_empty()) {
        None => client.service_scopes.join(" "),
        Some(asked) if asked.split(' ').all(|scope| client.service_scopes.contains(&scope)) => asked.to_owned(),
        Some(_) => return Err((StatusCode::BAD_REQUEST, "invalid_scope", "not for this client")),
    };
    let token =
        access_token(world, state, &format!("client:{}", client.id), client.id, &scope, audience(form), Map::new());
    Ok(json!({ "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME, "scope": scope }))
}

fn authorization_code(world: &World, state: &mut State, client: &Client, form: &Form) -> Result<Value, Refusal> {
    let wrong = |why| (StatusCode::BAD_REQUEST, "invalid_grant", why);
    let code = authorize::take_code(state, form.get("code").unwrap_or_default());
    let code = code.ok_or_else(|| wrong("the code is unknown or was used"))?;
    if code.client_id != client.id || form.get("redirect_uri") != Some(code.redirect_uri.as_str()) {
        return Err(wrong("the code was issued to another client or redirect_uri"));
    }
    if code.expires <= state.now() {
        return Err(wrong("the code has expired"));
    }
    match (&code.challenge, form.get("code_verifier")) {
        (None, None) => {}
        (Some(challenge), Some(verifier)) if web::s256(verifier) == *challenge => {}
        _ => return Err(wrong("the code verifier does not match")),
    }
    let person = state.idp.people.iter().find(|person| person.username == code.username).cloned();
    let person = person.ok_or_else(|| wrong("the person is gone"))?;
    let scope = granted(&code.scope, &person);
    let access_token = access_token(world, state, &person.sub, client.id, &scope, audience(form), person.claims());
    let mut body =
        json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": LIFETIME, "scope": scope });
    if scope.split(' ').any(|scope| scope == "openid")
        && let Some(members) = body.as_object_mut()
    {
        members.insert("id_token".to_owned(), id_token(world, state, &person, client.id, code.nonce.as_deref()).into());
    }
    Ok(body)
}

fn audience(form: &Form) -> &str {
    form.get("audience").or_else(|| form.get("resource")).filter(|audience| !audience.is_empty()).unwrap_or(AUDIENCE)
}

/// Returns the scopes of a person. Everybody may mint for themselves. Only administrators may manage users.
fn granted(asked: &str, person: &Person) -> String {
    let may = |scope: &&str| match *scope {
        "openid" | "profile" | "email" | "flexgate.token" => true,
        "flexgate.users.read" | "flexgate.users.write" => person.is_admin(),
        _ => false,
    };
    asked.split(' ').filter(may).collect::<Vec<_>>().join(" ")
}

/// Makes an RFC 9068 access token, with profile claims, as many real providers do.
fn access_token(
    world: &World,
    state: &State,
    sub: &str,
    client_id: &str,
    scope: &str,
    audience: &str,
    profile: Map<String, Value>,
) -> Option<String> {
    let now = state.now();
    let mut claims = profile;
    let fixed = json!({
        "iss": world.issuer(), "sub": sub, "aud": audience, "exp": now + LIFETIME, "iat": now, "nbf": now,
        "jti": random::text(16), "client_id": client_id, "scope": scope,
    });
    if let Value::Object(fixed) = fixed {
        claims.extend(fixed);
    }
    jwt::signed(&state.idp.keys.current, "at+jwt", &claims)
}

fn id_token(world: &World, state: &State, person: &Person, client_id: &str, nonce: Option<&str>) -> Option<String> {
    let now = state.now();
    let mut claims = person.claims();
    let fixed = json!({
        "iss": world.issuer(), "aud": client_id, "exp": now + LIFETIME, "iat": now, "auth_time": now,
    });
    if let Value::Object(fixed) = fixed {
        claims.extend(fixed);
    }
    if let Some(nonce) = nonce {
        claims.insert("nonce".to_owned(), nonce.into());
    }
    jwt::signed(&state.idp.keys.current, "JWT", &claims)
}

/// Answers with the profile of the person to whom the access token belongs.
pub(super) fn userinfo(world: &World, call: &Call) -> Response {
    let state = world.state();
    let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let claims = state.idp.keys.verified_claims(token).filter(|claims| {
        claims.get("exp").and_then(Value::as_i64).is_some_and(|exp| exp > state.now())
            && claims.get("iss").and_then(Value::as_str) == Some(world.issuer().as_str())
    });
    let sub = claims.as_ref().and_then(|claims| claims.get("sub")).and_then(Value::as_str).unwrap_or_default();
    if let Some(person) = state.idp.people.iter().find(|person| person.sub == sub) {
        return web::json(StatusCode::OK, &Value::Object(person.claims()));
    }
    let mut response = web::json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" }));
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}
