//! Twilio's part of the sign-in. Twilio is a client of the company's identity provider. The endpoint Authorize
//! redirects the browser to the provider. The endpoint Callback redirects the browser to the gateway with a code.

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::directory::{self, ROLES, Wanted};
use crate::call::Call;
use crate::idp::{self, clients::TWILIO_CLIENT_ID};
use crate::switches::{SsoReactivation, StateMember};
use crate::world::{State, World};
use crate::{CLIENT_ID, SSO_PROFILE_SID, random, web};

const PENDING_SECONDS: i64 = 600;
const CODE_SECONDS: i64 = 60;

#[derive(Debug, Default)]
pub(crate) struct Sso {
    pending: Vec<Pending>,
    codes: Vec<Code>,
}

/// A sign-in whose browser is at the identity provider.
#[derive(Clone, Debug)]
struct Pending {
    idp_state: String,
    idp_nonce: String,
    callback: String,
    redirect_url: String,
    state: String,
    nonce: String,
    challenge: String,
    expires: i64,
}

/// An authorization code that the gateway has not redeemed yet.
#[derive(Clone, Debug)]
pub(super) struct Code {
    value: String,
    pub(super) flex_user_sid: String,
    pub(super) nonce: String,
    pub(super) challenge: String,
    pub(super) expires: i64,
}

/// The session to which a refresh token belongs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) refresh_token: String,
    pub(super) flex_user_sid: String,
    pub(super) generation: u64,
    pub(super) started: i64,
}

impl Sso {
    /// Removes and returns the code, because a code works only once, even if the exchange fails.
    pub(super) fn take_code(&mut self, value: &str) -> Option<Code> {
        let index = self.codes.iter().position(|code| code.value == value)?;
        Some(self.codes.remove(index))
    }
}

pub(super) fn authorize(world: &World, call: &Call) -> Response {
    let mut state = world.state();
    match begin(world, &mut state, call) {
        Ok(location) => web::redirect(StatusCode::FOUND, &location),
        Err((status, code, message)) => refusal(status, code, &message),
    }
}

type Refusal = (u16, u32, String);

fn begin(world: &World, state: &mut State, call: &Call) -> Result<String, Refusal> {
    let parameter = |name: &str| {
        let value = call.query(name).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| (400, 70002, format!("The parameter {name} is missing.")))
    };
    let redirect_url = parameter("redirectUrl")?;
    if !state.trusted_urls.contains(&redirect_url) {
        return Err((403, 70251, format!("{redirect_url} is not among the Trusted URLs of the SSO settings.")));
    }
    if parameter("ssoProfileSid")? != SSO_PROFILE_SID {
        return Err((403, 70251, "The SSO profile does not exist. (Console logins are not simulated.)".to_owned()));
    }
    let challenge = parameter("codeChallenge")?;
    if web::unb64url(&challenge).is_none_or(|hash| hash.len() != 32) || challenge.contains('=') {
        return Err((400, 70002, "codeChallenge is not base64url of a SHA-256.".to_owned()));
    }
    let nonce = parameter("nonce")?;
    let original = read_state(&parameter("state")?, &redirect_url, state.switches.state_extra_member)?;

    let now = state.now();
    let pending = Pending {
        idp_state: random::text(24),
        idp_nonce: random::text(24),
        callback: format!("{}/v1/Flex/SSO/Callback", call.own_url),
        redirect_url,
        state: original,
        nonce,
        challenge,
        expires: now + PENDING_SECONDS,
    };
    let location = web::with_query(
        &format!("{}/authorize", world.issuer()),
        &[
            ("response_type", "code"),
            ("client_id", TWILIO_CLIENT_ID),
            ("redirect_uri", &pending.callback),
            ("scope", "openid profile email"),
            ("state", &pending.idp_state),
            ("nonce", &pending.idp_nonce),
        ],
    );
    state.sso.pending.retain(|pending| pending.expires > now);
    state.sso.pending.push(pending);
    Ok(location)
}

/// Validates `state`. Returns the `state` that the endpoint Callback passes to the gateway.
fn read_state(given: &str, redirect_url: &str, extra: StateMember) -> Result<String, Refusal> {
    let wrong = |why: &str| (400, 70002, format!("state {why}."));
    let json = web::unb64url(given).ok_or_else(|| wrong("is not base64url"))?;
    let members: Map<String, Value> = serde_json::from_slice(&json).map_err(|_| wrong("is not a JSON object"))?;
    if members.get("connection_name").and_then(Value::as_str) != Some(CLIENT_ID) {
        return Err(wrong("does not name the client_id of the SSO configuration as connection_name"));
    }
    if members.get("redirect_url").and_then(Value::as_str) != Some(redirect_url) {
        return Err(wrong("has another redirect_url than the request"));
    }
    match extra {
        _ if members.len() == 2 => Ok(given.to_owned()),
        StateMember::Tolerate => Ok(given.to_owned()),
        StateMember::Reject => Err(wrong("has members nobody asked for")),
        StateMember::Strip => {
            Ok(web::b64url(json!({ "connection_name": CLIENT_ID, "redirect_url": redirect_url }).to_string()))
        }
    }
}

pub(super) fn callback(world: &World, call: &Call) -> Response {
    let mut state = world.state();
    let now = state.now();
    let wanted = call.query("state").unwrap_or_default();
    let Some(index) = state.sso.pending.iter().position(|pending| pending.idp_state == wanted) else {
        return refusal(400, 70002, "This sign-in is unknown, over or was already completed.");
    };
    let pending = state.sso.pending.remove(index);
    if pending.expires <= now {
        return refusal(400, 70002, "This sign-in took too long.");
    }
    let outcome = match call.query("error") {
        Some(error) => Err((
            error.to_owned(),
            call.query("error_description").unwrap_or("The identity provider refused").to_owned(),
        )),
        None => sign_in(&mut state, &pending, call.query("code").unwrap_or_default()),
    };
    let location = match outcome {
        Ok(flex_user_sid) => {
            let value = random::text(32);
            state.sso.codes.retain(|code| code.expires > now);
            state.sso.codes.push(Code {
                value: value.clone(),
                flex_user_sid,
                nonce: pending.nonce,
                challenge: pending.challenge,
                expires: now + CODE_SECONDS,
            });
            web::with_query(&pending.redirect_url, &[("code", &value), ("state", &pending.state)])
        }
        Err((error, description)) => web::with_query(
            &pending.redirect_url,
            &[("error", &error), ("error_description", &description), ("state", &pending.state)],
        ),
    };
    web::redirect(StatusCode::FOUND, &location)
}

/// Redeems the provider's code. Then creates or updates the Flex user from the claims, as Twilio does at every sign-in.
fn sign_in(state: &mut State, pending: &Pending, code: &str) -> Result<String, (String, String)> {
    let denied = |why: String| ("access_denied".to_owned(), why);
    let claims = idp::redeem_internally(state, code, &pending.callback, &pending.idp_nonce)
        .ok_or_else(|| denied("The identity provider's code could not be redeemed".to_owned()))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let given = claims.get("roles").and_then(Value::as_array).cloned().unwrap_or_default();
    let roles: Vec<String> =
        given.iter().filter_map(Value::as_str).filter(|role| ROLES.contains(role)).map(str::to_owned).collect();
    if roles.is_empty() {
        return Err(denied("The claims name no Flex role".to_owned()));
    }
    let wanted = Wanted {
        username: text("preferred_username"),
        email: text("email"),
        full_name: text("name"),
        roles,
        attributes: None,
    };
    let gone = || denied("The Flex user is deactivated".to_owned());
    let before = state.lasting.directory.by_username(&wanted.username);
    if state.switches.sso_login_reactivates == SsoReactivation::Denied && before.is_some_and(|user| user.deactivated) {
        return Err(gone());
    }
    let (user, _) = directory::upsert(state, wanted).map_err(denied)?;
    if user.deactivated {
        return Err(gone());
    }
    Ok(user.sid)
}

fn refusal(status: u16, code: u32, message: &str) -> Response {
    web::page(
        web::status(status),
        "Sign-in failed",
        &format!(
            "<h1 class=\"title\">Sign-in failed</h1>\n<p role=\"alert\">{}</p>\n<p>Error <code>{code}</code> \
             (<a href=\"https://www.twilio.com/docs/errors/{code}\">what it means</a>)</p>",
            web::escape(message)
        ),
    )
}
