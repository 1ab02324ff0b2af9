//! The steps and questions about a user.

use flexgate::twilio::Service;
use serde_json::Value;

use super::super::report::Observed;
use super::super::session::{Halt, Session, heard, judged, status};
use super::super::wire::Seen;
use super::tokens;

/// The fields of a user that a search may omit.
const OMITTED: [&str; 3] = ["worker_sid", "full_name", "deactivated"];
const FULL_NAME: &str = "Flexgate Verify";
const CHANGED_NAME: &str = "Flexgate Verify again";
/// The length of a username that is one character too long for the name of a TaskRouter worker.
const LONG: usize = 65;

/// Checks that nobody has this username, because the script must not change a user that it has not created.
pub async fn free_name(session: &Session, username: &str) -> Result<(), Halt> {
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

/// Makes the user, searches for it, reads it and updates it. Returns its SID.
pub async fn made(session: &Session) -> Result<String, Halt> {
    let name = session.username.as_str();
    let seen = heard(session.made.make(&session.wire, name, FULL_NAME).await)?;
    let as_sent = |seen: &Seen| {
        let is_active = seen.body["deactivated"] != Value::Bool(true);
        seen.is_success() && seen.text("/username") == Some(name) && seen.text("/roles/0") == Some("agent") && is_active
    };
    let documented = "A 2xx status, and the active user with its SID, the username and the roles.";
    session.step("Provision creates a user", documented, judged(&seen, as_sent))?;
    session.answer("provision_status", status(&seen))?;
    let seen = seen.map_err(|why| Halt(format!("there is no user: {why}")))?;
    let sid = seen.sid_of(name).ok_or_else(|| Halt(format!("there is no user: {seen}")))?.to_owned();
    let version = seen.body["version"].clone();
    let version = match version {
        Value::Null => Err("the answer contains no version".to_owned()),
        version => Ok(Observed::new(version.clone(), format!("version {version}"))),
    };
    session.answer("version_starts_at", version)?;
    found(session, &sid).await?;
    read(session, &sid).await?;
    updated(session, &sid).await?;
    Ok(sid)
}

async fn found(session: &Session, sid: &str) -> Result<(), Halt> {
    let seen = heard(session.wire.find(&session.username).await)?;
    let one = |seen: &Seen| seen.status == 200 && matches!(seen.found(), Some([user]) if user["flex_user_sid"] == sid);
    session.step("A search by username finds the user", "Status 200 and a list with one user.", judged(&seen, one))?;
    let omitted = seen.and_then(|seen| {
        let user = seen.found().and_then(<[Value]>::first).ok_or("the search found nobody")?;
        let missing: Vec<_> = OMITTED.into_iter().filter(|name| user.get(name).is_none()).collect();
        Ok(match missing.as_slice() {
            [] => Observed::new(false, "all fields are there"),
            missing => Observed::new(true, format!("a search omits {}", missing.join(", "))),
        })
    });
    session.answer("sparse_responses", omitted)?;
    let other_case = heard(session.wire.find(&session.username.to_uppercase()).await)?;
    let is_sensitive = other_case.map(|seen| match seen.found() {
        Some([]) => Observed::new(true, "the username in capitals finds nobody"),
        Some([user]) if user["flex_user_sid"] == sid => Observed::new(false, "the username in capitals finds the user"),
        _ => Observed::strange(seen),
    });
    session.answer("find_case_sensitive", is_sensitive)
}

async fn read(session: &Session, sid: &str) -> Result<(), Halt> {
    let seen = heard(session.wire.get(session.wire.users("v4", &[sid])).await)?;
    let same = |seen: &Seen| {
        seen.status == 200
            && seen.text("/flex_user_sid") == Some(sid)
            && seen.text("/worker_sid").is_some_and(|worker| worker.starts_with("WK"))
    };
    session.step("GET shows the user", "Status 200, and the user with its worker.", judged(&seen, same))?;
    let mut url = session.wire.users("v1", &[]);
    url.query_pairs_mut().append_pair("PageSize", "1");
    let seen = heard(session.wire.get(url).await)?;
    let one = |seen: &Seen| {
        seen.status == 200 && seen.found().is_some_and(|users| users.len() == 1) && seen.body["meta"].is_object()
    };
    session.step("The v1 list has pages", "Status 200, PageSize users, and meta.", judged(&seen, one))
}

async fn updated(session: &Session, sid: &str) -> Result<(), Halt> {
    let again = heard(session.made.make(&session.wire, &session.username, CHANGED_NAME).await)?;
    let same = |seen: &Seen| {
        seen.is_success() && seen.text("/flex_user_sid") == Some(sid) && seen.text("/full_name") == Some(CHANGED_NAME)
    };
    let documented = "A 2xx status, and the same user with the new full_name.";
    session.step("Provision updates the user with the same username", documented, judged(&again, same))?;
    session.answer("provision_update_status", status(&again))?;
    let form = [("Locale", "en-us")];
    let seen = heard(session.wire.post_form(session.wire.users("v2", &[sid]), &form).await)?;
    let is_kept = |seen: &Seen| seen.status == 200;
    session.step("The v2 update changes the locale", "Status 200.", judged(&seen, is_kept))
}

/// Deprovisions the user, checks what Twilio still shows of the user, and provisions the user again.
pub async fn leaves(session: &Session, sid: &str) -> Result<(), Halt> {
    let (wire, made) = (&session.wire, &session.made);
    let token = heard(tokens::mint(session, sid, Some(3600)).await)?;
    let seen = heard(made.deactivate(wire, sid).await)?;
    let empty = |seen: &Seen| seen.status == 204 && seen.body.is_null();
    session.step("Deprovision deactivates the user", "Status 204 without a body.", judged(&seen, empty))?;
    if !seen.is_ok_and(|seen| seen.is_success()) {
        return Err(Halt("the user was not deprovisioned".to_owned()));
    }
    let seen = heard(wire.get(wire.users("v4", &[sid])).await)?;
    let is_gone = |seen: &Seen| seen.body["deactivated"] == Value::Bool(true) && seen.body["worker_sid"].is_null();
    let documented = "Status 200, deactivated: true, and no worker.";
    session.step("A deprovisioned user has no worker", documented, judged(&seen, is_gone))?;

    let token = token.and_then(|seen| seen.token().ok_or_else(|| format!("no token was minted: {seen}")));
    let info = match token {
        Ok(token) => heard(wire.token_info(&token).await)?,
        Err(why) => Err(why),
    };
    let info = info.map(|seen| Observed::new(!seen.is_success(), format!("Tokens/Info answers {seen}")));
    session.answer("tokens_die_at_deprovision", info)?;
    let seen = heard(wire.find(&session.username).await)?;
    let is_found = seen.map(|seen| match seen.found() {
        Some([]) => Observed::new(false, "the search finds nobody"),
        Some([user]) if user["flex_user_sid"] == sid => Observed::new(true, "the search finds the user"),
        _ => Observed::strange(seen),
    });
    session.answer("find_returns_deactivated", is_found)?;
    let minted = heard(tokens::mint(session, sid, None).await)?;
    let minted = minted.map(|seen| Observed::new(if seen.is_success() { "mint" } else { "reject" }, seen));
    session.answer("mint_deactivated", minted)?;
    let twice = heard(made.deactivate(wire, sid).await)?;
    session.answer("deprovision_twice_status", twice.map(|seen| Observed::new(seen.status, seen)))?;
    returns(session, sid).await
}

async fn returns(session: &Session, sid: &str) -> Result<(), Halt> {
    let seen = heard(session.made.make(&session.wire, &session.username, FULL_NAME).await)?;
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => return session.answer("provision_reactivates", Err(why)),
    };
    let Some(new) = seen.sid_of(&session.username) else {
        return session.answer("provision_reactivates", Ok(Observed::strange(seen)));
    };
    let shown = heard(session.wire.get(session.wire.users("v4", &[new])).await)?;
    let observed = shown.map(|shown| match (new == sid, shown.body["deactivated"].as_bool()) {
        (true, Some(false)) => Observed::new("same_sid", "the same SID, active"),
        (true, Some(true)) => Observed::new("stays_deactivated", "the same SID, deactivated"),
        (false, Some(false)) => Observed::new("new_sid", "a new SID, active"),
        (_, None) => Observed::strange(format!("{shown}, without deactivated")),
        (false, Some(true)) => Observed::strange("a new SID, deactivated"),
    });
    session.answer("provision_reactivates", observed)
}

/// Makes a second user with a long username, and deactivates it at once.
pub async fn long_username(session: &Session, workspace: Option<&str>) -> Result<(), Halt> {
    let username = format!("{:x<LONG$}", format!("{}-", session.username));
    free_name(session, &username).await?;
    let seen = heard(session.made.make(&session.wire, &username, FULL_NAME).await)?;
    let observed = match seen {
        Err(why) => Err(why),
        Ok(seen) if !seen.is_success() => Ok(Observed::new("reject", seen)),
        Ok(seen) => worker_name(session, &seen, workspace).await?.map(|name| {
            let text = format!("the worker's name has {} characters", name.chars().count());
            if name == username {
                Observed::new("accept", text)
            } else if !name.is_empty() && name.len() + 1 == LONG && username.starts_with(&name) {
                Observed::new("cut", text)
            } else {
                Observed::strange(text)
            }
        }),
    };
    session.answer("long_username", observed)?;
    end_all(session).await
}

async fn worker_name(session: &Session, user: &Seen, workspace: Option<&str>) -> Result<Result<String, String>, Halt> {
    let (Some(worker), Some(workspace)) = (user.text("/worker/worker_sid"), workspace) else {
        return Ok(Err("Twilio does not say which worker the user has".to_owned()));
    };
    let url = session.wire.url(Service::TaskRouter, &["v1", "Workspaces", workspace, "Workers", worker]);
    let seen = heard(session.wire.get(url).await)?;
    Ok(seen.and_then(|seen| {
        seen.text("/friendly_name").map(str::to_owned).ok_or_else(|| format!("the worker cannot be read: {seen}"))
    }))
}

/// Deactivates all users that the script has created so far, even if the script was stopped.
pub async fn end_all(session: &Session) -> Result<(), Halt> {
    let left = session.made.clean_up(&session.wire.unstoppable()).await;
    if left.is_empty() { Ok(()) } else { Err(Halt("the user could not be deactivated".to_owned())) }
}
