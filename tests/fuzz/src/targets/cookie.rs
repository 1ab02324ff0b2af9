//! Fuzzes the header `Cookie` of a browser with a session and a pending login.
//!
//! In an input, `{SESSION}` stands for the session's cookie (name and value), and `{LOGIN}` for the login's cookie.

use std::cell::RefCell;

use axum::body::{Body, Bytes};
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderValue, Method, Request};
use url::{Url, form_urlencoded};

use crate::Outcome;
use crate::world::block_on;
use crate::world::{Function, GATEWAY, Reply, TWILIO, World};

const SESSION: &str = "__Host-flexgate-session";

/// A pending login. Twilio has just redirected the browser to the callback.
pub(crate) struct Login {
    /// The login's cookie: its name and its value.
    pub(crate) cookie: String,
    pub(crate) state: String,
    pub(crate) code: String,
}

impl Login {
    pub(crate) fn begin(world: &World) -> Self {
        let login = Request::get("/sso/default/login?return_to=/desk").body(Body::empty()).unwrap();
        let reply = world.send(Function::Sso, login);
        let location: Url = reply.headers[LOCATION].to_str().unwrap().parse().unwrap();
        let back = sign_in_at_twilio(world, location);
        let value = |name: &str| back.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        Self { cookie: cookie_of(&reply), state: value("state"), code: value("code") }
    }

    fn finish(&self, world: &World) -> Reply {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.append_pair("state", &self.state).append_pair("code", &self.code).finish();
        let request = Request::get(format!("/sso/default/callback?{query}")).header(COOKIE, &self.cookie);
        world.send(Function::Sso, request.body(Body::empty()).unwrap())
    }
}

/// Returns the name and the value of the cookie that an answer sets.
fn cookie_of(reply: &Reply) -> String {
    let mut cookies =
        reply.headers.get_all(SET_COOKIE).iter().map(|set| set.to_str().unwrap().split(';').next().unwrap());
    cookies.rfind(|cookie| !cookie.ends_with('=')).unwrap().to_owned()
}

/// Signs `ada` in at Twilio and the identity provider. Returns the address of the callback.
fn sign_in_at_twilio(world: &World, mut at: Url) -> Url {
    let mut form: Option<String> = None;
    for _ in 0..10 {
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let request = Request::builder().method(method).uri(at.as_str()).header(HOST, at.authority());
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(Bytes::from(form.take().unwrap_or_default())).unwrap();
        let response = block_on(world.outside.simulator().answer(request)).unwrap();
        if let Some(next) = response.headers().get(LOCATION) {
            at = at.join(next.to_str().unwrap()).unwrap();
            if at.as_str().starts_with(GATEWAY) {
                return at;
            }
            continue;
        }
        let page = std::str::from_utf8(response.body()).unwrap();
        let field = page.split("name=\"request\"").nth(1).and_then(|rest| rest.split("value=\"").nth(1)).unwrap();
        let mut fields = form_urlencoded::Serializer::new(String::new());
        let field = field.split('"').next().unwrap();
        form = Some(fields.append_pair("request", field).append_pair("username", "ada").finish());
        at = format!("{TWILIO}/idp/authorize/decision").parse().unwrap();
    }
    panic!("the identity provider sends nobody back");
}

struct Fixture {
    world: World,
    session: String,
    login: Login,
}

thread_local! {
    static FIXTURE: RefCell<Option<Fixture>> = const { RefCell::new(None) };
}

/// Checks that Flexgate accepts a cookie if and only if its value is unchanged and its name occurs once.
pub(crate) fn run(input: &[u8]) -> Outcome {
    FIXTURE.with_borrow_mut(|slot| {
        let fixture = slot.get_or_insert_with(|| {
            let world = World::new();
            let session = cookie_of(&Login::begin(&world).finish(&world));
            assert!(session.starts_with(SESSION));
            Fixture { login: Login::begin(&world), session, world }
        });
        let (session, login) = (fixture.session.as_bytes(), fixture.login.cookie.as_bytes());
        let line = replace(&replace(input, b"{SESSION}", session), b"{LOGIN}", login);
        let Ok(header) = HeaderValue::from_bytes(&line) else { return Outcome::Refused };
        let pairs: Vec<_> = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).collect();
        let named = |cookie: &[u8]| {
            let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
            pairs.iter().filter(|pair| pair.starts_with(name) && pair.get(name.len()) == Some(&b'=')).count()
        };
        let is_ours = |cookie: &[u8]| named(cookie) == 1 && pairs.contains(&cookie);

        let request = Request::post("/sso/token").header(ORIGIN, GATEWAY).header("x-flexgate", "1");
        let reply = fixture.world.send(Function::Sso, request.header(COOKIE, &header).body(Body::empty()).unwrap());
        assert_eq!(reply.status == 200, is_ours(session), "{reply:?}");
        assert!(reply.status == 200 || reply.status == 401, "{reply:?}");

        let before = fixture.world.outside.exchanges();
        let mut query = form_urlencoded::Serializer::new(String::new());
        let query = query.append_pair("state", &fixture.login.state).append_pair("code", "a-wrong-code").finish();
        let request = Request::get(format!("/sso/default/callback?{query}")).header(COOKIE, header);
        let callback = fixture.world.send(Function::Sso, request.body(Body::empty()).unwrap());
        assert!(callback.status.is_client_error() || callback.status == 303, "{callback:?}");
        let exchanged = fixture.world.outside.exchanges() > before;
        // Flexgate reads no more than 200 cookies.
        assert!(!exchanged || is_ours(login), "{callback:?}");
        assert!(exchanged || !is_ours(login) || pairs.len() > 200, "{callback:?}");
        let outcome = Outcome::of(reply.status == 200 || exchanged);
        if exchanged {
            *slot = None;
        }
        outcome
    })
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from) {
            replaced.extend_from_slice(to);
            rest = after;
        } else {
            replaced.push(*first);
            rest = others;
        }
    }
    replaced
}
