//! The steps and questions about tokens.

use flexgate::twilio::Service;
use serde_json::{Value, json};

use super::super::report::Observed;
use super::super::session::{Halt, Heard, Session, heard, judged, status};
use super::super::wire::{Seen, Silence};

/// The tolerance, in seconds, when a token's lifetime is measured.
const TOLERANCE: i64 = 60;
const DAY: i64 = 86_400;
/// The test mints a token with a lifetime of one second. If the token is valid for more than ten seconds, Twilio did
/// not use the requested lifetime.
const SHORT: i64 = 10;

/// Mints a token for one of the users that `flexgate verify` has created.
pub async fn mint(session: &Session, sid: &str, ttl: Option<i64>) -> Result<Seen, Silence> {
    let body = ttl.map_or_else(|| json!({}), |ttl| json!({ "ttl": ttl }));
    session.wire.post(session.wire.users("v4", &[sid, "Tokens"]), &body).await
}

/// Finds out how Twilio answers a request about an invalid token. No user is needed for this.
pub async fn invalid(session: &Session) -> Result<(), Halt> {
    let seen = validated(session, "not-a-token").await?;
    let observed = seen.map(|seen| match seen.body["valid"] {
        Value::Bool(false) => Observed::new(seen.status, format!("{seen}, valid: false")),
        _ => Observed::strange(seen),
    });
    session.answer("iam_invalid_status", observed)
}

/// Mints tokens with different TTLs, and asks Twilio to validate one of them.
pub async fn all(session: &Session, sid: &str) -> Result<(), Halt> {
    let minted = heard(mint(session, sid, Some(600)).await)?;
    let is_own = |seen: &Seen| {
        let parts = seen.text("/access_token").map(|token| token.split('.').count());
        seen.is_success() && parts == Some(5) && seen.text("/token_info/flex_user_sid") == Some(sid) && lasts(seen, 600)
    };
    let documented = "A 2xx status, a compact JWE of five parts, and token_info with the user and the expiration.";
    session.step("A mint returns a token with the requested TTL", documented, judged(&minted, is_own))?;
    session.answer("mint_status", status(&minted))?;
    let hour = heard(mint(session, sid, None).await)?;
    let an_hour = |seen: &Seen| seen.is_success() && lasts(seen, 3600);
    session.step("Without a TTL, a token is valid for an hour", "3,600 s.", judged(&hour, an_hour))?;
    session.answer("over_max_ttl", two_days(session, sid).await?)?;
    let second = heard(mint(session, sid, Some(1)).await)?;
    let second = second.map(|seen| match (seen.is_success(), seen.lifetime()) {
        (false, _) => Observed::new("reject", seen),
        (true, Some(lifetime)) if lifetime <= SHORT => Observed::new("mint", valid_for(lifetime)),
        (true, Some(lifetime)) => Observed::new("raise", valid_for(lifetime)),
        (true, None) => Observed::strange(format!("{seen}, without an expiration")),
    });
    session.answer("short_ttl", second)?;
    checked(session, sid, minted).await
}

async fn two_days(session: &Session, sid: &str) -> Result<Result<Observed, String>, Halt> {
    let seen = match heard(mint(session, sid, Some(2 * DAY)).await)? {
        Ok(seen) => seen,
        Err(why) => return Ok(Err(why)),
    };
    if seen.is_success() {
        return Ok(Ok(match seen.lifetime() {
            Some(lifetime) if lasts(&seen, 2 * DAY) => Observed::new("mint", valid_for(lifetime)),
            Some(lifetime) if lasts(&seen, DAY) => Observed::new("clamp", valid_for(lifetime)),
            Some(lifetime) => Observed::strange(valid_for(lifetime)),
            None => Observed::strange(format!("{seen}, without an expiration")),
        }));
    }
    let day = heard(mint(session, sid, Some(DAY)).await)?;
    Ok(day.map(|day| {
        if day.is_success() {
            Observed::new("reject", format!("{seen}; a TTL of {DAY} s is allowed"))
        } else {
            Observed::strange(format!("{seen}; a TTL of {DAY} s is not allowed either ({day})"))
        }
    }))
}

async fn checked(session: &Session, sid: &str, minted: Heard) -> Result<(), Halt> {
    let token = minted.and_then(|seen| seen.token().ok_or_else(|| format!("no token was minted: {seen}")));
    let token = match token {
        Ok(token) => token,
        Err(why) => return session.answer("info_status", Err(why)),
    };
    let info = heard(session.wire.token_info(&token).await)?;
    let is_own = |seen: &Seen| seen.is_success() && seen.text("/flex_user_sid") == Some(sid);
    let documented = "A 2xx status, with the user of the token.";
    session.step("Tokens/Info describes a token", documented, judged(&info, is_own))?;
    session.answer("info_status", status(&info))?;
    let seen = validated(session, secrecy::ExposeSecret::expose_secret(&token)).await?;
    let is_valid = |seen: &Seen| seen.body["valid"] == Value::Bool(true);
    session.step("The IAM API accepts a valid token", "valid: true.", judged(&seen, is_valid))
}

async fn validated(session: &Session, token: &str) -> Result<Heard, Halt> {
    let wire = &session.wire;
    let url = wire.url(Service::Iam, &["v1", "Accounts", &wire.account, "Tokens", "validate"]);
    heard(wire.post(url, &json!({ "token": token })).await)
}

fn lasts(seen: &Seen, seconds: i64) -> bool {
    seen.lifetime().is_some_and(|lifetime| (lifetime - seconds).abs() <= TOLERANCE)
}

fn valid_for(seconds: i64) -> String {
    format!("the token is valid for {seconds} s")
}
