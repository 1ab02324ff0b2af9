//! Tests `/sessions` and `/users/{sid}/sessions`.

use flexgate::store::{EndingKey, Session, SessionEndings as _, SessionKey, SessionOrigin, Sessions as _, SqliteStore};
use flexgate_simulator::AUDIENCE;
use flexgate_test_support::{Browser, Reply, World};
use http::{Method, Request};
use serde_json::{Value, json};
use time::Duration;

use crate::{Directory, process};

/// Sends a request with a token that has these scopes.
async fn call(directory: &Directory, scope: &str, method: Method, path: &str) -> Reply {
    let bearer = directory.world.token(&json!({ "sub": "desk", "scope": scope })).await;
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {bearer}"));
    Browser::new(directory.router.clone()).send(request.body(axum::body::Body::empty()).unwrap()).await
}

const READ: &str = "flexgate.sessions.read";
const WRITE: &str = "flexgate.sessions.write";

async fn add(world: &World, id: &str, sid: &str, username: Option<&str>) -> SessionKey {
    let (now, key) = (world.clock_rng().now(), SessionKey::of(id));
    let session = Session {
        key: key.clone(),
        profile: "default".parse().unwrap(),
        flex_user_sid: sid.parse().unwrap(),
        sealed: "v1.1.sealed-canary".into(),
        version: 0,
        created_at: now,
        used_at: now,
        ends_at: now + Duration::hours(12),
        seat: None,
        origin: SessionOrigin {
            username: username.map(str::to_owned),
            network: Some("203.0.113.0/24".into()),
            browser: Some("Firefox".into()),
            idle: Some(Duration::hours(2)),
        },
    };
    SqliteStore::open(&world.store_path()).unwrap().insert(session).await.unwrap();
    key
}

fn ids(body: &Value) -> Vec<&str> {
    body["sessions"].as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn administrators_see_who_is_signed_in_and_no_token() {
    let directory = Directory::start().await;
    let (ada, grace) =
        (directory.world.at_twilio("adele", &["agent"]).await, directory.world.at_twilio("grete", &["agent"]).await);
    let one = add(&directory.world, "cookie-canary", &ada, Some("adele")).await;
    let other = add(&directory.world, "other", &grace, Some("grete")).await;
    let reply = call(&directory, READ, Method::GET, "/sessions").await;
    assert!(!reply.text.contains("canary"), "{}", reply.text);
    let body = reply.is(200);
    assert_eq!((ids(&body).len(), &body["next_page_token"]), (2, &Value::Null));
    for path in ["/sessions?username=adele".to_owned(), format!("/users/{ada}/sessions")] {
        let body = call(&directory, READ, Method::GET, &path).await.is(200);
        assert_eq!(ids(&body), [one.as_str()], "{path}");
        let session = &body["sessions"][0];
        assert_eq!(
            (&session["flex_user_sid"], &session["username"], &session["profile"]),
            (&json!(ada), &json!("adele"), &json!("default"))
        );
        assert_eq!((&session["network"], &session["browser"]), (&json!("203.0.113.0/24"), &json!("Firefox")));
        for time in ["since", "last_used", "ends_at"] {
            assert!(session[time].is_string(), "{time}");
        }
    }
    let body = call(&directory, READ, Method::GET, "/sessions?username=nobody").await.is(200);
    assert_eq!(body["sessions"], json!([]));
    assert_ne!(one, other);
}

#[tokio::test]
async fn a_session_ends_and_so_do_all_of_a_user() {
    let directory = Directory::start().await;
    let sid = directory.world.at_twilio("adele", &["agent"]).await;
    let mut keys = Vec::new();
    for id in ["a", "b", "c"] {
        keys.push(add(&directory.world, id, &sid, Some("adele")).await);
    }
    let path = format!("/sessions/{}?reason=laptop%20lost", keys[0].as_str());
    assert_eq!(call(&directory, WRITE, Method::DELETE, &path).await.status, 204);
    assert_eq!(call(&directory, WRITE, Method::DELETE, &path).await.problem(), (404, "session_unknown".into()));
    let path = format!("/users/{sid}/sessions");
    assert_eq!(ids(&call(&directory, READ, Method::GET, &path).await.is(200)).len(), 2);
    assert_eq!(call(&directory, WRITE, Method::DELETE, &path).await.is(200), json!({ "ended": 2 }));
    assert_eq!(call(&directory, WRITE, Method::DELETE, &path).await.is(200), json!({ "ended": 0 }));
    let store = SqliteStore::open(&directory.world.store_path()).unwrap();
    for key in &keys {
        assert_eq!(store.get(key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn g18_the_end_of_a_users_sessions_is_recorded_for_logins_that_have_not_come_back() {
    let directory = Directory::start().await;
    let ada = directory.world.at_twilio("adele", &["agent"]).await;
    let before = directory.world.clock_rng().now().replace_nanosecond(0).unwrap();
    let body = call(&directory, WRITE, Method::DELETE, &format!("/users/{ada}/sessions")).await.is(200);
    assert_eq!(body["ended"], 0);
    let store = SqliteStore::open(&directory.world.store_path()).unwrap();
    let ended = store.ended_until(&[EndingKey::FlexUser(ada.parse().unwrap())]).await.unwrap();
    assert!(ended.ends(Some(before)));
    assert!(!ended.ends(Some(before + Duration::minutes(1))));
}

#[tokio::test]
async fn a_user_is_deactivated_even_if_the_sessions_cannot_be_ended() {
    let directory = Directory::start().await;
    let ada = directory.world.at_twilio("adele", &["agent"]).await;
    let scope = "flexgate.users.write";
    directory.world.sql("ALTER TABLE sessions RENAME TO gone");
    call(&directory, scope, Method::DELETE, &format!("/users/{ada}")).await.is(503);
    assert_eq!(directory.world.twilio_user("adele").await.unwrap()["deactivated"], true);
    directory.world.sql("ALTER TABLE gone RENAME TO sessions");
    assert_eq!(call(&directory, scope, Method::DELETE, &format!("/users/{ada}")).await.status, 204);
}

#[tokio::test]
async fn g24_ids_that_are_none_reasons_that_are_too_long_and_pages_that_never_were() {
    let directory = Directory::start().await;
    let key = add(&directory.world, "cookie", &format!("FU{}", "1".repeat(32)), None).await;
    let unknown = (404, "session_unknown".to_owned());
    let longer = format!("{}A", key.as_str());
    // The value of the session cookie is not the session's id.
    for id in ["cookie", "FU1", "%2e%2e", "%00", longer.as_str(), &"A".repeat(43), &"A".repeat(4_000)] {
        let path = format!("/sessions/{id}");
        assert_eq!(call(&directory, WRITE, Method::DELETE, &path).await.problem(), unknown, "{id}");
    }
    for query in [format!("reason={}", "x".repeat(201)), "reason=a%0Ab".into(), "reason=a&reason=b".into()] {
        let path = format!("/sessions/{}?{query}", key.as_str());
        assert_eq!(call(&directory, WRITE, Method::DELETE, &path).await.problem(), (400, "query_invalid".into()));
    }
    for (query, problem) in [
        ("page_token=x", (404, "page_unknown")),
        ("username=", (400, "query_invalid")),
        ("page_token=", (404, "page_unknown")),
    ] {
        let reply = call(&directory, READ, Method::GET, &format!("/sessions?{query}")).await;
        assert_eq!(reply.problem(), (problem.0, problem.1.into()), "{query}");
    }
    let unknown_user = (404, "user_unknown".to_owned());
    for method in [Method::GET, Method::DELETE] {
        let scope = format!("{READ} {WRITE}");
        assert_eq!(call(&directory, &scope, method, "/users/nobody/sessions").await.problem(), unknown_user);
    }
    let store = SqliteStore::open(&directory.world.store_path()).unwrap();
    assert!(store.get(&key).await.unwrap().is_some(), "nothing of this ended the session");
}

#[tokio::test]
async fn g25_other_scopes_neither_see_nor_end_sessions() {
    let directory = Directory::start().await;
    let sid = format!("FU{}", "1".repeat(32));
    let key = add(&directory.world, "cookie", &sid, None).await;
    let (of_user, one) = (format!("/users/{sid}/sessions"), format!("/sessions/{}", key.as_str()));
    let users = "flexgate.users.read flexgate.users.write flexgate.token.any";
    for (scope, method, path) in [
        (format!("{users} {WRITE}"), Method::GET, "/sessions"),
        (format!("{users} {WRITE}"), Method::GET, of_user.as_str()),
        (format!("{users} {READ}"), Method::DELETE, of_user.as_str()),
        (format!("{users} {READ}"), Method::DELETE, one.as_str()),
    ] {
        let reply = call(&directory, &scope, method, path).await;
        assert_eq!(reply.problem(), (403, "scope_missing".into()), "{scope} {path}");
    }
    let mut stranger = Browser::new(directory.router.clone());
    assert_eq!(stranger.get("/sessions").await.problem(), (401, "token_invalid".into()));
}

#[tokio::test]
async fn g26_an_issuer_ends_only_the_sessions_of_usernames_that_it_may_use() {
    let mut directory = Directory::start().await;
    let issuers = json!([{
        "issuer": directory.world.simulator.issuer(), "audiences": [AUDIENCE], "usernames": ["acme-*"],
    }]);
    directory.router = process(&directory.world, &[("FLEXGATE_ISSUERS", &issuers.to_string())]);
    let own = directory.world.at_twilio("acme-ada", &["agent"]).await;
    let others = directory.world.at_twilio("grete", &["agent"]).await;
    let forbidden = (403, "username_forbidden".to_owned());
    // Sessions of older versions do not contain the username, so Flexgate asks Twilio.
    for username in [Some("grete"), None] {
        let key = add(&directory.world, &format!("{username:?}"), &others, username).await;
        let path = format!("/sessions/{}", key.as_str());
        assert_eq!(call(&directory, WRITE, Method::DELETE, &path).await.problem(), forbidden);
    }
    let path = format!("/users/{others}/sessions");
    assert_eq!(call(&directory, WRITE, Method::DELETE, &path).await.problem(), forbidden);
    let key = add(&directory.world, "own", &own, None).await;
    assert_eq!(call(&directory, WRITE, Method::DELETE, &format!("/sessions/{}", key.as_str())).await.status, 204);
    assert_eq!(
        call(&directory, WRITE, Method::DELETE, &format!("/users/{own}/sessions")).await.is(200),
        json!({ "ended": 0 })
    );
}
