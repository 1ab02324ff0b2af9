//! The endpoints under `/idp/__dev` for tests. They issue any token, rotate keys, and change people.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::jwt::{self, Signer};
use super::keys::SigningKey;
use super::people::Person;
use crate::call::Call;
use crate::control::{Refusal, body, refuse};
use crate::world::{State, World};
use crate::{AUDIENCE, random, web};

const LIFETIME: i64 = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// Whether the old key stays published in the JWKS.
    #[serde(default = "yes")]
    keep_previous: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KeyName {
    Current,
    Rsa,
    Previous,
    Ec,
    Ed25519,
    Unknown,
    PublicPemAsHmac,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum KeyChoice {
    Named(KeyName),
    Hmac(Hmac),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hmac {
    hmac: String,
}

enum Material {
    Key(Arc<SigningKey>),
    /// The HMAC secret and the token's `kid`. For the attack `public-pem-as-hmac`, the secret is the published RSA key
    /// as PEM text, and the `kid` is the `kid` of that key.
    Hmac(Vec<u8>, Option<String>),
}

pub(super) fn token(world: &World, call: &Call) -> Response {
    make(world, call)
        .map_or_else(|refusal| refusal.response(), |token| web::json(StatusCode::OK, &json!({ "token": token })))
}

fn make(world: &World, call: &Call) -> Result<String, Refusal> {
    let bad = |message: &str| refuse(StatusCode::BAD_REQUEST, message);
    let mut given = body::<Map<String, Value>>(call)?;
    let own_header = match given.remove("header") {
        None => Map::new(),
        Some(Value::Object(header)) => header,
        Some(_) => return Err(bad("header: must be an object")),
    };
    let choice = match given.remove("key") {
        None => KeyChoice::Named(KeyName::Current),
        Some(value) => serde_json::from_value(value).map_err(|_| {
            bad("key: current, rsa, previous, ec, ed25519, unknown, public-pem-as-hmac or {\"hmac\": \"…\"}")
        })?,
    };
    let state = world.state();
    let material = material(&state, choice).map_err(bad)?;
    let (algorithm, kid) = match &material {
        Material::Key(key) => (key.algorithm(), Some(key.kid.clone())),
        Material::Hmac(_, kid) => ("HS256", kid.clone()),
    };
    let mut header = Map::from_iter([
        ("alg".to_owned(), Value::from(algorithm)),
        ("typ".to_owned(), Value::from("at+jwt")),
        ("kid".to_owned(), json!(kid)),
    ]);
    merge(&mut header, own_header);

    let now = state.now();
    let mut claims = Map::from_iter([
        ("iss".to_owned(), Value::from(world.issuer())),
        ("sub".to_owned(), Value::from("dev-subject")),
        ("aud".to_owned(), Value::from(AUDIENCE)),
        ("iat".to_owned(), Value::from(now)),
        ("exp".to_owned(), Value::from(now + LIFETIME)),
        ("jti".to_owned(), Value::from(random::text(16))),
    ]);
    merge(&mut claims, given);

    let signer = match &material {
        Material::Key(key) => Signer::Key(key),
        Material::Hmac(secret, _) => Signer::Hmac(secret),
    };
    jwt::compact(&header, &claims, &signer).ok_or_else(|| bad("the token could not be signed"))
}

/// Merges `from` into `into`. Members of `from` replace those of the same name. Null removes a member.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    into.extend(from);
    into.retain(|_, value| !value.is_null());
}

fn material(state: &State, choice: KeyChoice) -> Result<Material, &'static str> {
    let keys = &state.idp.keys;
    Ok(match choice {
        KeyChoice::Hmac(Hmac { hmac }) => Material::Hmac(hmac.into_bytes(), None),
        KeyChoice::Named(name) => match name {
            KeyName::Current | KeyName::Rsa => Material::Key(keys.current.clone()),
            KeyName::Ec => Material::Key(keys.ec.clone()),
            KeyName::Ed25519 => Material::Key(keys.ed25519.clone()),
            KeyName::Previous => Material::Key(keys.previous.clone().ok_or("key: nothing was rotated yet")?),
            KeyName::Unknown => Material::Key(keys.unknown().ok_or("key: could not be made")?),
            KeyName::PublicPemAsHmac => {
                let pem = keys.current.public_pem().ok_or("key: could not be encoded")?;
                Material::Hmac(pem.into_bytes(), Some(keys.current.kid.clone()))
            }
        },
    })
}

pub(super) fn rotate(world: &World, call: &Call) -> Response {
    let rotation = match body::<Rotation>(call) {
        Ok(rotation) => rotation,
        Err(refusal) => return refusal.response(),
    };
    let mut state = world.state();
    let outcome = state.idp.keys.rotate(rotation.keep_previous).and_then(|()| state.idp.keys.save(&world.store));
    match outcome {
        Ok(()) => {
            web::json(StatusCode::OK, &json!({ "kid": state.idp.keys.current.kid, "jwks": state.idp.keys.jwks() }))
        }
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()).response(),
    }
}

pub(super) fn people(world: &World) -> Response {
    web::json(StatusCode::OK, &json!({ "people": world.state().idp.people }))
}

/// Adds a person, or replaces the person with the same username. The subject stays the same unless the body contains
/// one.
pub(super) fn change_person(world: &World, call: &Call) -> Response {
    let mut person = match body::<Person>(call) {
        Ok(person) => person,
        Err(refusal) => return refusal.response(),
    };
    let mut state = world.state();
    let people = &mut state.idp.people;
    let before = people.iter().position(|known| known.username == person.username);
    if person.sub.is_empty() {
        person.sub = before.map_or_else(|| format!("00u{}", random::hex(8)), |index| people[index].sub.clone());
    }
    let shown = json!(person);
    match before {
        Some(index) => people[index] = person,
        None => people.push(person),
    }
    web::json(StatusCode::OK, &shown)
}
