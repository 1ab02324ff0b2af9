//! Tests attacks on sign-in (S1 to S32 of the attack register). The tests send requests directly to the router. A
//! simulator replaces Twilio.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should panic")]

mod callback;
mod cookies;
mod exchange;
mod leaver;
mod lies;
mod links;
mod lock;
mod login;
mod pages;
mod policies;
mod races;
mod session;
mod tabs;
mod verdict;

use axum::Router;
use flexgate::base::settings::Reader;
use flexgate::web::Edge;
use flexgate_sso::{App, Settings, router};
use flexgate_test_support::{Browser, Reply, World};

/// The start of a login cookie's name.
pub const LOGIN: &str = "__Host-flexgate-login-";
pub const SESSION: &str = "__Host-flexgate-session";

/// Starts the sign-in function with this simulated Twilio (`world`) and these additional variables.
pub fn process_with(world: &World, variables: &[(&str, &str)]) -> Router {
    let mut reader: Reader = world.reader().with(variables.iter().copied());
    let settings = Settings::read(&mut reader);
    let settings = reader.finish(settings).unwrap();
    let platform = world.platform(&settings.common);
    Edge::new("sso", &settings.common, world.clock_rng()).assemble(router(App::new(&settings, &platform)))
}

pub fn process(world: &World) -> Router {
    process_with(world, &[])
}

/// Returns a simulated Twilio and a browser without a session.
pub async fn fresh() -> (World, Browser) {
    let world = World::on_one_clock().await;
    let browser = Browser::new(process(&world));
    (world, browser)
}

/// Returns a simulated Twilio and a browser in which ada is signed in.
pub async fn signed_in() -> (World, Browser) {
    let (world, mut browser) = fresh().await;
    let reply = browser.sign_in(&world, "ada").await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (303, "/desk"), "{}", reply.text);
    (world, browser)
}

/// Returns a simulated Twilio, a browser in the middle of a login, and the URL of the callback.
pub async fn at_callback() -> (World, Browser, String) {
    let (world, mut browser) = fresh().await;
    let authorize = browser.begin("/sso/default/login?return_to=/desk").await;
    let callback = browser.authenticate(&world, &authorize, Some("ada")).await;
    (world, browser, callback)
}

/// Returns the names of the browser's login cookies.
#[must_use]
pub fn logins(browser: &Browser) -> Vec<String> {
    browser.cookies.keys().filter(|name| name.starts_with(LOGIN)).cloned().collect()
}

/// Returns the `Set-Cookie` line of a login cookie.
#[must_use]
pub fn login_line(reply: &Reply) -> &str {
    reply.set_cookies().into_iter().find(|line| line.starts_with(LOGIN)).unwrap()
}

/// Returns the callback's URL with one query parameter replaced or removed.
#[must_use]
pub fn with_parameter(callback: &str, name: &str, value: Option<&str>) -> String {
    let (path, query) = callback.split_once('?').unwrap();
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (key, old) in form_urlencoded::parse(query.as_bytes()) {
        if key != name {
            form.append_pair(&key, &old);
        }
    }
    if let Some(value) = value {
        form.append_pair(name, value);
    }
    format!("{path}?{}", form.finish())
}

/// Returns the number of authorization codes sent to Twilio.
pub async fn exchanges(world: &World) -> usize {
    grants(world, "AuthorizationCode").await
}

/// Returns the number of refresh tokens sent to Twilio.
pub async fn refreshes(world: &World) -> usize {
    grants(world, "RefreshToken").await
}

async fn grants(world: &World, grant: &str) -> usize {
    let journal = world.journal("OAuth/Tokens").await;
    journal.iter().filter(|request| request["body"].to_string().contains(grant)).count()
}
