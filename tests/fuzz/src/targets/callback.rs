//! Fuzzes the query of a request to the callback. The request contains the cookie of a pending login.
//!
//! In an input, `{STATE}` and `{CODE}` stand for the values that Twilio sends for this login.

use std::cell::RefCell;

use axum::body::Body;
use http::header::COOKIE;
use http::{Request, Uri};
use url::form_urlencoded;

use crate::Outcome;
use crate::targets::cookie::Login;
use crate::world::{Function, World};

struct Fixture {
    world: World,
    login: Login,
}

thread_local! {
    static FIXTURE: RefCell<Option<Fixture>> = const { RefCell::new(None) };
}

/// Checks that a callback signs somebody in only with the login's own state and code. Each of the two must occur
/// exactly once in the query.
pub(crate) fn run(input: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(input) else { return Outcome::Refused };
    FIXTURE.with_borrow_mut(|slot| {
        let fixture = slot.get_or_insert_with(|| {
            let world = World::new();
            let login = Login::begin(&world);
            Fixture { world, login }
        });
        let (world, login) = (&fixture.world, &fixture.login);
        let query = text.replace("{STATE}", &login.state).replace("{CODE}", &login.code);
        let Ok(uri) = format!("/sso/default/callback?{query}").parse::<Uri>() else { return Outcome::Refused };
        let pairs: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let values =
            |name: &str| pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect::<Vec<_>>();
        let before = world.outside.exchanges();
        let request = Request::get(uri).header(COOKIE, &login.cookie).body(Body::empty()).unwrap();
        let reply = world.send(Function::Sso, request);
        let exchanged = world.outside.exchanges() > before;
        let signed_in = reply.status == 303;
        assert!(signed_in || reply.status.is_client_error(), "{reply:?}");
        if exchanged {
            assert_eq!((values("state").len(), values("code").len(), values("error").len()), (1, 1, 0), "{query}");
            assert_eq!(values("state")[0].trim_end_matches('='), login.state, "a code was used with another state");
        }
        if signed_in {
            assert!(exchanged && *values("code")[0] == login.code, "{query}");
            assert_eq!(reply.headers["location"], "/desk");
            assert!(reply.headers.get_all("set-cookie").iter().any(|set| set.to_str().unwrap().contains("-session=")));
        }
        // The login or the code may be used up now. If so, the next input gets a new login.
        if exchanged || reply.headers.contains_key("set-cookie") {
            *slot = None;
        }
        Outcome::of(signed_in)
    })
}
