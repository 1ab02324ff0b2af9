//! Two tabs request the token of one session, each from a different process. A lease lets only one process at a time
//! refresh the session, so the processes compete for it.

use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Mutex;

use super::choices::Choices;
use super::stage::Stage;
use crate::browser::{self, Browser, token_request};
use crate::process::{Function, Reply};
use crate::world::World;

const TABS: usize = 2;
/// The lifetime of an access token, in seconds.
const TOKEN: i64 = 3_600;

pub(super) async fn play(world: &Arc<World>, choices: &mut Choices, is_expired: bool) {
    let browser = Arc::new(Browser::default());
    browser::sign_in(world.clone(), browser.clone(), "ada".to_owned()).await;
    world.clock.jump(if is_expired { TOKEN + 60 } else { TOKEN - 200 });
    let old = world.spy.seen().secrets.clone();

    let stage = Stage::of(world);
    let replies = Arc::new(Mutex::new(Vec::new()));
    let tab = |number: usize| {
        let request = browser.with_cookies(token_request());
        let (actor, replies, world) = (stage.actor(number, Function::Sso), replies.clone(), world.clone());
        async move {
            let reply = actor.send("asks for the token", request).await;
            check(&world, reply.as_ref());
            replies.lock().await.push(reply);
        }
        .boxed()
    };
    stage.play(choices, (0..TABS).map(tab).collect()).await;
    let faults = choices.faults();
    let refreshes: u32 = world.spy.seen().refreshes.values().sum();
    if refreshes > 1 + faults {
        world.complain(format!("{refreshes} refreshes with {faults} faults"));
    }
    let replies = std::mem::take(&mut *replies.lock().await);
    let is_new = |token: &Value| token.as_str().is_some_and(|token| !old.contains(token));
    let tokens: Vec<&Value> = replies.iter().flatten().map(|reply| &reply.body["access_token"]).collect();
    if faults == 0 {
        // While the old token is valid, a tab may get the old token instead of waiting for the new one.
        let new = tokens.iter().filter(|token| is_new(token)).count();
        if refreshes != 1 || new == 0 || (is_expired && new < TABS) {
            world.complain(format!("{refreshes} refreshes, and {new} of {TABS} tabs got the new token"));
        }
    }

    stage.rest().await;
    let first = ask(world, &browser, "afterwards").await;
    let second = ask(world, &browser, "afterwards, in another tab").await;
    if first != second {
        world.complain("the tabs end with different tokens");
    }
    if tokens.iter().any(|token| is_new(token)) && !first.as_ref().is_some_and(is_new) {
        world.complain("the session has lost tokens that a tab has got");
    }
    if faults == 0 && first.is_none() || refreshes == 0 && first.is_none() {
        world.complain("the session ended, although no refresh token was lost");
    }
    // The next refresh works only if the session has the newest refresh token.
    world.clock.jump(TOKEN);
    let later = ask(world, &browser, "an hour later").await;
    if faults == 0 && (later.is_none() || later == first) {
        world.complain("the session keeps an old refresh token");
    }
}

/// Requests the session's token. Returns the token, or `None` if the session has ended.
async fn ask(world: &Arc<World>, browser: &Browser, when: &str) -> Option<Value> {
    let what = format!("{when}, the page asks for the token");
    let insisted = world.insist(Function::Sso, &what, async || browser.with_cookies(token_request())).await?;
    check(world, Some(&insisted.reply));
    match insisted.reply.status {
        200 => Some(insisted.reply.body["access_token"].clone()),
        401 => None,
        status => {
            world.complain(format!("{what}: {status}"));
            None
        }
    }
}

/// Complains if the answer contains an expired token or another person's token.
fn check(world: &World, reply: Option<&Reply>) {
    let Some(reply) = reply.filter(|reply| reply.status == 200) else { return };
    crate::callers::owns(world, "a tab", "ada", &reply.body["access_token"]);
    let expires = reply.body["expires_at"].as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    if expires.is_none_or(|expires| expires <= world.now()) {
        world.complain("a tab got a token that has expired");
    }
}
