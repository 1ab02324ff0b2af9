//! Runs every flow at the log level `TRACE`, with valid and invalid input (attack M27 of the attack register). The
//! output must contain no secret, token, code, verifier, cookie or e-mail address.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate_test_support::{Browser, GATEWAY, Process, World, free_port};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Values that the gateway must never write, each with a description for the test's error message.
#[derive(Default)]
struct Canaries(BTreeSet<(&'static str, String)>);

impl Canaries {
    /// Adds a secret. Adds parts of a long secret too, because logs shorten long values.
    fn add(&mut self, kind: &'static str, secret: &str) {
        assert!(secret.len() >= 8, "{kind} is too short to look for: {secret}");
        let parts = secret.as_bytes().chunks(40).filter(|part| part.len() >= 24);
        self.0.extend(parts.map(|part| (kind, String::from_utf8(part.to_vec()).unwrap())));
        self.0.insert((kind, secret.to_owned()));
    }

    fn kinds(&self) -> BTreeSet<&'static str> {
        self.0.iter().map(|(kind, _)| *kind).collect()
    }

    /// Collects the secrets in the simulator's journal, which contains every request and its body.
    fn read_journal(&mut self, journal: &[Value]) {
        for request in journal {
            let header = |name: &str| request["headers"][name].as_str();
            if let Some((_, credential)) = header("authorization").and_then(|value| value.split_once(' ')) {
                self.add("authorization", credential);
            }
            let body = request["body"].as_str().unwrap();
            let object: Value = serde_json::from_str(body).unwrap_or_default();
            for (member, kind) in [
                ("code", "code"),
                ("code_verifier", "verifier"),
                ("nonce", "nonce"),
                ("refresh_token", "refresh token"),
                ("email", "e-mail"),
                ("token", "token"),
            ] {
                if let Some(secret) = object[member].as_str().filter(|text| text.len() >= 8) {
                    self.add(kind, secret);
                }
            }
            for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
                if name == "Token" && value.len() >= 8 {
                    self.add("token", &value);
                }
            }
        }
    }

    fn read_cookies(&mut self, browser: &Browser) {
        for value in browser.cookies.values() {
            self.add("cookie", value);
        }
    }
}

async fn post(browser: &mut Browser, path: &str, bearer: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
    if let Some(bearer) = bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
    }
    let reply = browser.send(request.body(Body::from(body.to_string())).unwrap()).await;
    (reply.status.as_u16(), reply.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn m27_no_canary_is_in_any_output_at_trace() {
    let world = World::start().await;
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexgate"));
    command.args(["serve", "--live", "--port", &port.to_string()]).envs(world.variables());
    command.env("FLEXGATE_LOG", "trace").env("FLEXGATE_JUST_IN_TIME", "create-and-sync").env("RUST_BACKTRACE", "1");
    let mut process = Process::spawn(command, port);
    let mut written = process.wait_for("Flexgate serves", PATIENCE);

    let mut canaries = Canaries::default();
    read_secrets(&world, &mut canaries);
    sign_in(&world, &process, &mut canaries).await;
    mint(&world, &process, &mut canaries).await;
    canaries.read_journal(&world.journal("").await);

    process.terminate();
    let lines = tokio::task::spawn_blocking(move || {
        process.ended(PATIENCE);
        process.rest()
    });
    written.extend(lines.await.unwrap());
    assert!(written.iter().filter(|line| line.contains("\"TRACE\"")).count() > 100, "nothing was traced");
    assert!(written.iter().any(|line| line.contains("flexgate::audit")));

    let expected = [
        "AuthToken",
        "access token",
        "authorization",
        "client JWT",
        "code",
        "cookie",
        "cookie key",
        "e-mail",
        "nonce",
        "refresh token",
        "token",
        "upstream text",
        "verifier",
    ];
    assert_eq!(canaries.kinds(), expected.into(), "a flow that should have brought one did not run");
    for (kind, secret) in &canaries.0 {
        let found = written.iter().find(|line| line.contains(secret.as_str()));
        assert_eq!(found, None, "{kind} {secret} was written");
    }
    let address = written.iter().find(|line| line.contains("@example.com"));
    assert_eq!(address, None, "an e-mail address was written");
}

fn read_secrets(world: &World, canaries: &mut Canaries) {
    let read = |name: &str| -> Value {
        let path = world.folder().join("secrets").join(name);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let twilio = read("twilio.json");
    let (account, auth_token) = (twilio["accountSid"].as_str().unwrap(), twilio["authToken"].as_str().unwrap());
    canaries.add("AuthToken", auth_token);
    canaries.add("AuthToken", &STANDARD.encode(format!("{account}:{auth_token}")));
    for key in read("cookie-keys.json")["keys"].as_object().unwrap().values() {
        canaries.add("cookie key", key.as_str().unwrap());
    }
}

/// Signs in, uses the session and refreshes its token, with valid and with invalid input.
async fn sign_in(world: &World, process: &Process, canaries: &mut Canaries) {
    let router = process.router();
    // The gateway returns only tokens that are valid for at least five more minutes. So `/sso/token` must refresh this
    // token, which is valid for four.
    world.control("switches", &json!({"sso_token_ttl_seconds": 240})).await;
    let mut browser = Browser::new(router.clone());
    let authorize = browser.begin("/sso/default/login?return_to=/desk").await;
    canaries.read_cookies(&browser);
    let callback = browser.authenticate(world, &authorize, Some("grace")).await;
    let parameters = callback.split_once('?').unwrap().1;
    let code = url::form_urlencoded::parse(parameters.as_bytes()).find(|(name, _)| name == "code").unwrap().1;
    canaries.add("code", &code);
    assert_eq!(browser.get(&callback).await.status, 303);
    canaries.read_cookies(&browser);
    world.control("switches", &json!({"sso_token_ttl_seconds": 3600})).await;
    let token = browser.call("/sso/token").await.body;
    canaries.add("access token", token["access_token"].as_str().unwrap());
    assert_eq!(post(&mut browser, "/sso/validate", None, &json!({"token": token["access_token"]})).await.0, 200);
    assert_eq!(browser.get(&callback).await.status, 303, "replayed in a signed-in browser");
    assert_eq!(post(&mut browser, "/sso/validate", None, &json!({"token": "canary-flex-token-canary"})).await.0, 401);
    canaries.add("token", "canary-flex-token-canary");
    assert_eq!(browser.call("/sso/logout").await.status, 204);
    assert_eq!(browser.call("/sso/token").await.status, 401);

    let mut stranger = Browser::new(router.clone());
    assert_eq!(stranger.get(&callback).await.status, 400, "without the cookie");
    let forged = Request::post("/sso/token").header(ORIGIN, GATEWAY).header("x-flexgate", "1");
    let forged = forged.header("cookie", "__Host-flexgate-session=canary-session-canary-session");
    canaries.add("cookie", "canary-session-canary-session");
    assert_eq!(stranger.send(forged.body(Body::empty()).unwrap()).await.status, 401);

    // Twilio first answers with an error message that contains a canary, and then with JSON of the wrong shape.
    canaries.add("upstream text", "canary-upstream-canary");
    for fault in [
        json!({"kind": "status", "status": 400, "body": {"code": 70002, "message": "canary-upstream-canary"}}),
        json!({"kind": "status", "status": 200, "body": {"access_token": ["canary-upstream-canary"]}}),
    ] {
        world.fault(&merged(json!({"service": "services", "path_contains": "OAuth/Tokens"}), &fault)).await;
        let mut unlucky = Browser::new(router.clone());
        assert!(unlucky.sign_in(world, "ada").await.status.as_u16() >= 400);
    }
}

/// Provisions a user and mints a token, with valid and with invalid input.
async fn mint(world: &World, process: &Process, canaries: &mut Canaries) {
    let mut caller = Browser::new(process.router());
    let person = json!({
        "sub": "canary-person", "preferred_username": "canary", "scope": "flexgate.token", "name": "Canary Bird",
        "email": "canary-person@example.com", "email_verified": true,
    });
    let jwt = world.token(&person).await;
    canaries.add("client JWT", &jwt);
    canaries.add("e-mail", "canary-person@example.com");
    for _ in 0..2 {
        let (status, minted) = post(&mut caller, "/token", Some(&jwt), &json!({})).await;
        assert_eq!(status, 201, "{minted}");
        canaries.add("access token", minted["access_token"].as_str().unwrap());
    }
    let scopes = "flexgate.token.any flexgate.users.read flexgate.users.write";
    let service = world.token(&json!({"scope": scopes, "sub": "service"})).await;
    canaries.add("client JWT", &service);
    let user = json!({
        "username": "canary-two", "email": "canary-two@example.com", "full_name": "Canary Two", "roles": ["agent"]
    });
    assert_eq!(post(&mut caller, "/users", Some(&service), &user).await.0, 201);
    assert_eq!(post(&mut caller, "/token", Some(&service), &json!({"username": "canary-two"})).await.0, 201);
    let found = Request::get("/users?username=canary-two").header(AUTHORIZATION, format!("Bearer {service}"));
    assert_eq!(caller.send(found.body(Body::empty()).unwrap()).await.status, 200);

    // Invalid callers and requests.
    let wrong = [
        json!({"aud": "other"}),
        json!({"exp": 1}),
        json!({"header": {"kid": "no-such-key"}}),
        json!({"key": "unknown"}),
        json!({"scope": "openid"}),
        json!({"key": "unknown", "header": {"jku": "http://localhost:1/canary-upstream-canary"}}),
        json!({"nbf": "canary-upstream-canary"}),
        json!({"preferred_username": ["canary-upstream-canary"]}),
    ];
    for changes in wrong {
        let jwt = world.token(&merged(person.clone(), &changes)).await;
        canaries.add("client JWT", &jwt);
        assert!(matches!(post(&mut caller, "/token", Some(&jwt), &json!({})).await.0, 401 | 403));
    }
    // A group's name may be an e-mail address, so it must not appear in the log either.
    canaries.add("e-mail", "canary-group@example.com");
    let grouped = world.token(&merged(person.clone(), &json!({"roles": ["canary-group@example.com"]}))).await;
    canaries.add("client JWT", &grouped);
    assert_eq!(post(&mut caller, "/token", Some(&grouped), &json!({})).await.0, 201);
    // A token exchange (RFC 8693) has the caller's token in its form body.
    for (subject, status) in [(jwt.as_str(), 200), ("canary-bearer-canary.canary-bearer-canary.x", 400)] {
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={subject}\
             &subject_token_type=urn:ietf:params:oauth:token-type:jwt&actor_token_type=&scope="
        );
        let request = Request::post("/token").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let reply = caller.send(request.body(Body::from(form)).unwrap()).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        if let Some(token) = reply.body["access_token"].as_str() {
            canaries.add("access token", token);
        }
    }
    let garbage = "canary-bearer-canary.canary-bearer-canary.canary-bearer-canary";
    canaries.add("client JWT", garbage);
    assert_eq!(post(&mut caller, "/token", Some(garbage), &json!({})).await.0, 401);
    let body = json!({"email": "canary-body@example.com", "ttl": "canary-upstream-canary"});
    assert_eq!(post(&mut caller, "/token", Some(&jwt), &body).await.0, 400);

    // In turn, Twilio mints for the wrong user, adds roles, refuses, sends the wrong shape, breaks the connection, and
    // rejects the credential.
    for lie in ["mint_for_other_user", "mint_wider_roles"] {
        world.control("switches", &json!({ lie: true })).await;
        assert_eq!(post(&mut caller, "/token", Some(&jwt), &json!({})).await.0, 502);
        world.control("switches", &json!({ lie: false })).await;
    }
    for fault in [
        json!({"kind": "status", "status": 400, "body": {"code": 45004, "message": "canary-upstream-canary"}}),
        json!({"kind": "status", "status": 401, "body": {"code": 20003, "message": "canary-upstream-canary"}}),
        json!({"kind": "status", "status": 201, "body": {"access_token": {"canary-upstream-canary": 1}}}),
        json!({"kind": "garbage"}),
        json!({"kind": "lost_response"}),
        json!({"kind": "reset", "times": 3}),
    ] {
        world.fault(&merged(json!({"service": "flex-api", "path_contains": "/Tokens"}), &fault)).await;
        post(&mut caller, "/token", Some(&jwt), &json!({})).await;
    }
    world.write_secret(
        "twilio",
        &json!({"accountSid": "canary-upstream-canary", "authToken": "canary-upstream-canary"}),
    );
    world.control("credentials", &json!({})).await;
    assert_eq!(post(&mut caller, "/token", Some(&jwt), &json!({})).await.0, 503);
}

fn merged(mut into: Value, from: &Value) -> Value {
    into.as_object_mut().unwrap().extend(from.as_object().unwrap().clone());
    into
}
