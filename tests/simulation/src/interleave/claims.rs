//! Several tabs open the callback URL of one login. Flexgate must send the login's code to Twilio only once.

use std::sync::Arc;

use axum::body::Body;
use futures_util::FutureExt as _;
use http::Request;
use http::header::SET_COOKIE;
use tokio::sync::Mutex;

use super::choices::Choices;
use super::stage::Stage;
use crate::browser::{self, Browser};
use crate::process::{Function, Reply};
use crate::world::World;

const TABS: usize = 3;

pub(super) async fn play(world: &Arc<World>, choices: &mut Choices) {
    let browser = Browser::default();
    let Some(callback) = browser::begin_sign_in(world, &browser, "ada").await else {
        return world.complain("ada cannot sign in");
    };
    let stage = Stage::of(world);
    let winners = Arc::new(Mutex::new(0));
    let tab = |number: usize| {
        let request = browser.with_cookies(Request::get(&callback).body(Body::empty()).unwrap());
        let (actor, winners) = (stage.actor(number, Function::Sso), winners.clone());
        async move {
            let reply = actor.send("opens the callback", request).await;
            if reply.is_some_and(|reply| signs_in(&reply)) {
                *winners.lock().await += 1;
            }
        }
        .boxed()
    };
    stage.play(choices, (0..TABS).map(tab).collect()).await;
    stage.rest().await;
    // The spy, which watches the requests to Twilio, complains if Flexgate sends a redeemed code again.
    match *winners.lock().await {
        0 if choices.faults() == 0 => world.complain("no tab is signed in"),
        0 | 1 => {}
        several => world.complain(format!("{several} tabs got a session each")),
    }
}

fn signs_in(reply: &Reply) -> bool {
    let cookies = reply.headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    cookies
        .filter_map(|line| cookie::Cookie::parse(line).ok())
        .any(|set| set.name().ends_with("flexgate-session") && set.max_age() != Some(cookie::time::Duration::ZERO))
}
