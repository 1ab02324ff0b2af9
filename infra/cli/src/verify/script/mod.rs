//! The steps of the documented contract and the open questions, in the order in which they are asked.

mod tokens;
mod user;

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use flexgate::twilio::Service;
use serde_json::{Value, json};

use super::made::Made;
use super::report::{Observed, Report};
use super::wire::{Seen, Silence, Wire};

/// A run of the script.
pub struct Session {
    pub wire: Wire,
    pub made: Made,
    pub report: Mutex<Report>,
    /// The username of the user that the script makes.
    pub username: String,
    /// The SSO profile for the questions about exchanges.
    pub profile: Option<String>,
}

/// Why the script cannot go on.
#[derive(Debug)]
pub struct Halt(pub String);

/// An answer, or why there is none.
type Heard = Result<Seen, String>;

/// Runs all steps and asks all questions. Fails if the remaining ones cannot be asked.
pub async fn run(session: Arc<Session>) -> Result<(), Halt> {
    let session = &*session;
    let workspace = account(session).await?;
    free_name(session, &session.username).await?;
    errors(session).await?;
    exchanges(session).await?;
    tokens::invalid(session).await?;
    let sid = user::made(session).await?;
    tokens::all(session, &sid).await?;
    user::leaves(session, &sid).await?;
    // The next user must not exist together with this one, because Twilio bills users.
    end_users(session).await?;
    user::long_username(session, workspace.as_deref()).await
}

impl Session {
    fn step(
        &self,
        asks: &'static str,
        documented: &'static str,
        observed: Result<(bool, String), String>,
    ) -> Result<(), Halt> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.step(asks, documented, observed).map_err(halted)
    }

    fn answer(&self, switch: &str, observed: Result<Observed, String>) -> Result<(), Halt> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.answer(switch, observed).map_err(halted)
    }

    /// Returns 32 random hexadecimal digits.
    fn random(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.wire.clock_rng().random()))
    }
}

fn halted(error: impl Display) -> Halt {
    Halt(format!("the report cannot be written ({error})"))
}

/// Separates what ends the script from what ends one step.
fn heard(asked: Result<Seen, Silence>) -> Result<Heard, Halt> {
    match asked {
        Err(silence @ (Silence::Stopped | Silence::Credential(_))) => Err(Halt(silence.to_string())),
        other => Ok(other.map_err(|silence| silence.to_string())),
    }
}

/// The status of a success is the position.
fn status(heard: &Heard) -> Result<Observed, String> {
    match heard {
        Ok(seen) if seen.is_success() => Ok(Observed::new(seen.status, seen)),
        Ok(seen) => Ok(Observed::strange(seen)),
        Err(why) => Err(why.clone()),
    }
}

/// A step that `is_kept` judges.
fn judged(heard: &Heard, is_kept: impl FnOnce(&Seen) -> bool) -> Result<(bool, String), String> {
    heard.as_ref().map(|seen| (is_kept(seen), seen.to_string())).map_err(Clone::clone)
}

/// Deactivates the users so far, even if the script was stopped.
async fn end_users(session: &Session) -> Result<(), Halt> {
    let left = session.made.clean_up(&session.wire.unstoppable()).await;
    if left.is_empty() { Ok(()) } else { Err(Halt("the user could not be deactivated".to_owned())) }
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

/// Checks that nobody has this username, because the script changes only its own user.
async fn free_name(session: &Session, username: &str) -> Result<(), Halt> {
    let seen = heard(session.wire.find(username).await)?;
    let is_free = |seen: &Seen| seen.status == 200 && seen.found().is_some_and(<[Value]>::is_empty);
    session.step(
        "A search for an unknown username finds nobody",
        "Status 200 and an empty list.",
        judged(&seen, is_free),
    )?;
    match seen {
        Ok(seen) if is_free(&seen) => Ok(()),
        Ok(_) => Err(Halt("the username is perhaps somebody's already, so no user was made".to_owned())),
        Err(why) => Err(Halt(format!("nobody knows whether the username is free, so no user was made: {why}"))),
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

/// Exchanges a made-up code. Nobody's code is used up.
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
