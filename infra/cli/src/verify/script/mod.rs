//! The script of `flexgate verify`: the checks of documented behaviour and the open questions, in the order in which
//! they run.

mod tokens;
mod user;

use std::sync::Arc;

use flexgate::twilio::Service;
use serde_json::{Value, json};

use super::report::Observed;
use super::session::{Halt, Session, heard, judged};
use super::wire::Seen;

/// Runs all steps and asks all questions. Returns an error if the script cannot continue.
pub async fn run(session: Arc<Session>) -> Result<(), Halt> {
    let session = &*session;
    let workspace = account(session).await?;
    user::free_name(session, &session.username).await?;
    errors(session).await?;
    exchanges(session).await?;
    tokens::invalid(session).await?;
    let sid = user::made(session).await?;
    tokens::all(session, &sid).await?;
    user::leaves(session, &sid).await?;
    // Deactivate the first user before the next one is created, so that Twilio bills at most one additional user.
    user::end_all(session).await?;
    user::long_username(session, workspace.as_deref()).await
}

/// Checks that the credential belongs to the configured account and instance. Returns the workspace.
async fn account(session: &Session) -> Result<Option<String>, Halt> {
    let wire = &session.wire;
    let seen = heard(wire.get(wire.url(Service::FlexApi, &["v1", "Configuration"])).await)?;
    let ours = |seen: &Seen| {
        seen.text("/account_sid") == Some(&wire.account) && seen.text("/flex_instance_sid") == Some(&wire.instance)
    };
    let documented = "Status 200, with the account and the Flex instance of the credential.";
    session.step("GET /v1/Configuration shows the configured account", documented, judged(&seen, ours))?;
    match seen {
        Ok(seen) if ours(&seen) => Ok(seen.text("/taskrouter_workspace_sid").map(str::to_owned)),
        Ok(_) => Err(Halt("the credential does not belong to the configured account and Flex instance".to_owned())),
        Err(why) => Err(Halt(why)),
    }
}

async fn errors(session: &Session) -> Result<(), Halt> {
    let sid = format!("FU{}", session.random());
    let seen = heard(session.wire.get(session.wire.users("v4", &[&sid])).await)?;
    let not_found = |seen: &Seen| seen.status == 404 && seen.code == Some(20404);
    session.step("An unknown SID is an error", "Status 404, code 20404.", judged(&seen, not_found))?;
    let format = seen.map(|seen| match (seen.text("/title"), seen.text("/message")) {
        (Some(_), _) => Observed::new(true, format!("{seen}, with a title")),
        (None, Some(_)) => Observed::new(false, format!("{seen}, with a message")),
        (None, None) => Observed::strange(format!("{seen}, with neither a title nor a message")),
    });
    session.answer("rfc9457_errors", format)
}

/// Finds out how Twilio refuses to exchange an invalid code. Sends a random code, so that no real code is used up.
async fn exchanges(session: &Session) -> Result<(), Halt> {
    let exchange = async |profile: &str| {
        let url = session.wire.url(Service::Services, &["v1", "Flex", "OAuth", "Tokens"]);
        let body = json!({
            "sso_profile_sid": profile, "code": session.random(), "code_verifier": session.random().repeat(2),
            "nonce": session.random(), "grant_type": "AuthorizationCode",
        });
        heard(session.wire.post_openly(url, &body).await)
    };
    let refused = match &session.profile {
        Some(profile) => exchange(profile).await?,
        None => Err("FLEXGATE_SSO_PROFILES is not set".to_owned()),
    };
    let part = |value: fn(&Seen) -> Value| {
        let observed = |seen: &Seen| {
            if seen.is_success() {
                Observed::strange(format!("{seen}: Twilio accepted a made-up code"))
            } else {
                Observed::new(value(seen), seen)
            }
        };
        refused.as_ref().map(observed).map_err(Clone::clone)
    };
    session.answer("exchange_error_status", part(|seen| json!(seen.status)))?;
    session.answer("exchange_error_code", part(|seen| json!(seen.code)))?;
    let unknown = exchange(&format!("JQ{}", session.random())).await?;
    let observed = unknown.map(|seen| match seen.code {
        Some(70251) => Observed::new(seen.status, seen),
        _ => Observed::strange(seen),
    });
    session.answer("exchange_profile_status", observed)
}
