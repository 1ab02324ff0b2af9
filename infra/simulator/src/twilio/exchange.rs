//! `POST /v1/Flex/OAuth/Tokens`: exchanges a code or a refresh token for an access token.

use serde::Deserialize;
use serde_json::json;

use super::jwe::Claims;
use super::sso::Session;
use super::{Outcome, TwilioError};
use crate::call::Call;
use crate::switches::{Numeric as _, Refresh, Switches};
use crate::world::{State, World};
use crate::{OTHER_ACCOUNT_SID, OTHER_INSTANCE_SID, SSO_PROFILE_SID, random, web};

/// The request body: JSON instead of a form, with Twilio's own grant types.
#[derive(Deserialize)]
#[serde(tag = "grant_type")]
enum Grant {
    AuthorizationCode { sso_profile_sid: String, code: String, code_verifier: String, nonce: String },
    RefreshToken { sso_profile_sid: String, refresh_token: String },
}

pub(super) fn tokens(world: &World, call: &Call) -> Outcome {
    let is_json = call.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    if !is_json {
        return Err(TwilioError::new(415, 20001, "The body must be application/json"));
    }
    let grant: Grant = serde_json::from_slice(&call.body)
        .map_err(|error| TwilioError::new(400, 70002, "Invalid request").with_detail(error.to_string()))?;
    let mut state = world.state();
    match grant {
        Grant::AuthorizationCode { sso_profile_sid, code, code_verifier, nonce } => {
            profile(&state.switches, &sso_profile_sid)?;
            let session = redeem(&mut state, &code, &code_verifier, &nonce)?;
            answer(world, &mut state, session)
        }
        Grant::RefreshToken { sso_profile_sid, refresh_token } => {
            profile(&state.switches, &sso_profile_sid)?;
            let session = refresh(&mut state, &refresh_token)?;
            answer(world, &mut state, session)
        }
    }
}

fn profile(switches: &Switches, sid: &str) -> Result<(), TwilioError> {
    if sid == SSO_PROFILE_SID {
        return Ok(());
    }
    Err(TwilioError::new(switches.exchange_profile_status.status(), 70251, "Invalid SSO settings"))
}

fn refused(switches: &Switches, why: &str) -> TwilioError {
    let code = u32::try_from(switches.exchange_error_code.number()).unwrap_or_default();
    TwilioError::new(switches.exchange_error_status.status(), code, "Invalid request").with_detail(why)
}

fn redeem(state: &mut State, code: &str, verifier: &str, nonce: &str) -> Result<Session, TwilioError> {
    let now = state.now();
    let code = state.sso.take_code(code);
    let switches = &state.switches;
    let code = code.ok_or_else(|| refused(switches, "The code is unknown or was used"))?;
    if code.expires <= now {
        return Err(refused(switches, "The code has expired"));
    }
    if web::s256(verifier) != code.challenge {
        return Err(refused(switches, "The code verifier does not match"));
    }
    if nonce != code.nonce {
        return Err(refused(switches, "The nonce does not match"));
    }
    let user = state.lasting.directory.by_sid(&code.flex_user_sid).filter(|user| !user.deactivated);
    let user = user.ok_or_else(|| refused(switches, "The Flex user is gone"))?;
    Ok(Session {
        refresh_token: String::new(),
        flex_user_sid: user.sid.clone(),
        generation: user.generation,
        started: now,
    })
}

/// Returns the session to which a refresh token belongs. If the switch `refresh_rotates` is on, each refresh token
/// works only once.
fn refresh(state: &mut State, token: &str) -> Result<Session, TwilioError> {
    let now = state.now();
    let switches = &state.switches;
    let sessions = &mut state.lasting.sessions;
    let session = if switches.refresh_rotates == Refresh::Rotates {
        sessions.remove(token).map(|session| Session { refresh_token: String::new(), ..session })
    } else {
        sessions.get(token).cloned()
    };
    let session = session.ok_or_else(|| refused(switches, "The refresh token is unknown or was used"))?;
    if session.started + switches.sso_max_lifetime_seconds <= now {
        return Err(refused(switches, "The session has reached its maximum lifetime"));
    }
    let alive = state
        .lasting
        .directory
        .by_sid(&session.flex_user_sid)
        .is_some_and(|user| !user.deactivated && user.generation == session.generation);
    if alive { Ok(session) } else { Err(refused(switches, "The Flex user is deactivated")) }
}

fn answer(world: &World, state: &mut State, mut session: Session) -> Outcome {
    let now = state.now();
    let switches = &state.switches;
    let latest = session.started + switches.sso_max_lifetime_seconds;
    let expires = (now + switches.sso_token_ttl_seconds).min(latest);
    let user = state.lasting.directory.by_sid(&session.flex_user_sid);
    let user = user.ok_or_else(|| refused(switches, "The Flex user is gone"))?;
    let mut claims = Claims::new(user, now, expires);
    if switches.exchange_other_account {
        OTHER_ACCOUNT_SID.clone_into(&mut claims.account_sid);
    }
    if switches.exchange_other_instance {
        OTHER_INSTANCE_SID.clone_into(&mut claims.instance_sid);
    }
    let body = |refresh_token: &str| {
        json!({
            "access_token": world.token_key.seal(&claims), "refresh_token": refresh_token,
            "token_info": claims.token_info(switches.are_sparse()),
        })
    };
    if !session.refresh_token.is_empty() {
        return Ok(web::json(axum::http::StatusCode::OK, &body(&session.refresh_token)));
    }
    session.refresh_token = random::text(48);
    let body = body(&session.refresh_token);
    state.lasting.sessions.put(session.refresh_token.clone(), session);
    Ok(web::json(axum::http::StatusCode::OK, &body))
}
