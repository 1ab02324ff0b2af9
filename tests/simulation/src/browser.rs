//! People who sign in with a browser.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use http::{Method, Request};
use serde_json::{Value, json};
use url::Url;

use crate::callers::owns;
use crate::process::{Function, Reply};
use crate::settings::{GATEWAY, TWILIO};
use crate::world::World;

/// How long somebody keeps a page open, in hours.
const HOURS: usize = 3;
/// The age, in seconds, at which the page requests its token again. The token is then valid for only three more
/// minutes, so Flexgate must refresh it.
const NEARLY_EXPIRED: i64 = 57 * 60;

/// A person's browser, which stores the gateway's cookies.
#[derive(Default)]
pub(crate) struct Browser {
    cookies: Mutex<BTreeMap<String, String>>,
}

impl Browser {
    async fn send(&self, world: &World, request: Request<Body>) -> Option<Reply> {
        let reply = world.send(Function::Sso, self.with_cookies(request)).await?;
        let mut cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        for line in reply.headers.get_all(SET_COOKIE) {
            let Ok(set) = cookie::Cookie::parse(line.to_str().unwrap_or_default()) else { continue };
            if set.max_age() == Some(cookie::time::Duration::ZERO) {
                cookies.remove(set.name());
            } else {
                cookies.insert(set.name().to_owned(), set.value().to_owned());
            }
        }
        Some(reply)
    }

    pub(crate) fn with_cookies(&self, mut request: Request<Body>) -> Request<Body> {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let line = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        drop(cookies);
        if !line.is_empty() {
            request.headers_mut().insert(COOKIE, line.parse().unwrap());
        }
        request
    }

    fn is_signed_in(&self) -> bool {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        cookies.keys().any(|name| name.ends_with("flexgate-session"))
    }
}

/// Signs in. Twilio sets the Flex user's roles at each sign-in, so from now on the model does not expect Flexgate to
/// repair them.
pub(crate) async fn sign_in(world: Arc<World>, browser: Arc<Browser>, name: String) {
    let what = format!("{name} signs in");
    world.tell(&what);
    let Some(callback) = begin_sign_in(&world, &browser, &name).await else { return };
    // Sometimes the callback is requested twice, as if somebody reloaded the page or two tabs showed it.
    let tabs = 1 + usize::from(world.chance.thousandths(200));
    for _ in 0..tabs {
        let callback = Request::get(&callback).body(Body::empty()).unwrap();
        let reply = browser.send(&world, callback).await;
        world.tell(format!("{what}: {}", reply.map_or(0, |reply| reply.status)));
    }
}

/// Keeps a page open for some hours. The page requests its token shortly before the token expires, so the session must
/// be refreshed.
pub(crate) async fn keep_open(world: Arc<World>, browser: Arc<Browser>, name: String, tabs: usize) {
    if !browser.is_signed_in() {
        sign_in(world.clone(), browser.clone(), name.clone()).await;
    }
    for _ in 0..HOURS {
        if browser.is_signed_in() {
            world.jump_between_requests(NEARLY_EXPIRED).await;
            tokens(world.clone(), browser.clone(), name.clone(), tabs).await;
        }
    }
}

/// Signs in at the identity provider. Returns the path of the callback, which the browser must request next.
pub(crate) async fn begin_sign_in(world: &World, browser: &Browser, name: &str) -> Option<String> {
    let refused = |why: &str| world.tell(format!("{name} signs in: {why}"));
    {
        let mut model = world.model();
        let person = model.person(name);
        person.disturbed = true;
        person.keeps_wfo = false;
    }
    let person = json!({ "username": name, "sub": format!("00u-{name}"), "email": format!("{name}@example.com"),
        "name": format!("{name} Example"), "roles": ["agent"] });
    world.ask(Method::POST, "/idp/__dev/people", &person).await;
    let login = Request::get("/sso/default/login?return_to=/desk").body(Body::empty()).unwrap();
    let Some(reply) = browser.send(world, login).await else {
        refused("no answer");
        return None;
    };
    let Some(at) = location(&reply.headers) else {
        refused(&reply.status.to_string());
        return None;
    };
    let callback = authenticate(world, at, name).await;
    if callback.is_none() {
        refused("the identity provider refused");
    }
    callback
}

fn location(headers: &http::HeaderMap) -> Option<Url> {
    headers.get(LOCATION)?.to_str().ok()?.parse().ok()
}

/// Follows the redirects through Twilio and the identity provider. Returns the path of the gateway's callback.
async fn authenticate(world: &World, mut at: Url, name: &str) -> Option<String> {
    let mut form: Option<String> = None;
    for _ in 0..10 {
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let request = Request::builder().method(method).uri(at.as_str());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.header("host", at.authority());
        let response = world.simulator.answer(request.body(Bytes::from(form.take().unwrap_or_default())).ok()?).await?;
        if let Some(next) = response.headers().get(LOCATION) {
            at = at.join(next.to_str().ok()?).ok()?;
            if at.as_str().starts_with(GATEWAY) {
                return Some(format!("{}?{}", at.path(), at.query()?));
            }
            continue;
        }
        let page = std::str::from_utf8(response.body()).ok()?;
        let field = page.split("name=\"request\"").nth(1)?.split("value=\"").nth(1)?.split('"').next()?;
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        form = Some(fields.append_pair("request", field).append_pair("username", name).finish());
        at = format!("{TWILIO}/idp/authorize/decision").parse().ok()?;
    }
    None
}

/// A page's request for the session's token.
pub(crate) fn token_request() -> Request<Body> {
    let request = Request::post("/sso/token").header(ORIGIN, GATEWAY).header("x-flexgate", "1");
    request.body(Body::empty()).unwrap()
}

/// One or two tabs of the browser request the session's token at the same time.
pub(crate) async fn tokens(world: Arc<World>, browser: Arc<Browser>, name: String, tabs: usize) {
    if !browser.is_signed_in() {
        return;
    }
    let one = async |tab: usize| {
        let gone = world.model().person(&name).inactive_since();
        let reply = browser.send(&world, token_request()).await;
        let what = format!("{name} asks for the session's token in tab {tab}");
        world.tell(format!("{what}: {}", reply.as_ref().map_or(0, |reply| reply.status)));
        if let Some(reply) = reply.filter(|reply| reply.status == 200) {
            if gone.is_some() && gone == world.model().person(&name).inactive_since() {
                world.complain(format!("{what}: the session outlived the deactivation"));
            }
            owns(&world, &what, &name, &reply.body["access_token"]);
            let username: &Value = &reply.body["username"];
            if *username != name.as_str() {
                world.complain(format!("{what}: the answer names {username}"));
            }
        }
    };
    if tabs > 1 {
        tokio::join!(one(1), one(2));
    } else {
        one(1).await;
    }
}
