//! Tests SCIM while its secret contains no token, as in a new deployment (case R77 of the attack register).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::Router;
use flexgate::base::clock_rng::SystemRng;
use flexgate::base::outbound::Deadline;
use flexgate::secrets::{FetchError, SecretSource, SecretValue, Stage};
use flexgate::web::Edge;
use flexgate_provision::{App, NewToken, Settings, router};
use flexgate_test_support::{Log, Reply, World};
use http::Request;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use time::Duration;
use tower::ServiceExt as _;

use crate::common::Refused as _;

/// Counts how often the secret that contains the SCIM tokens is read.
#[derive(Debug)]
struct Counted {
    source: Arc<dyn SecretSource>,
    reads: AtomicUsize,
}

#[async_trait]
impl SecretSource for Counted {
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError> {
        if id == "scim-tokens" {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.source.fetch(id, stage, deadline).await
    }
}

struct Fixture {
    world: World,
    secrets: Arc<Counted>,
    app: Arc<App>,
    router: Router,
}

impl Fixture {
    /// Starts the function as on Lambda. `document` is the text of the secret. `None` means that the secret does not
    /// exist.
    async fn start(document: Option<&str>) -> Self {
        let world = World::on_one_clock().await;
        if let Some(text) = document {
            std::fs::write(world.secret_path("scim-tokens"), text).unwrap();
        }
        let mut reader = world.reader().with([("SCIM_TOKENS_SECRET_ID", "scim-tokens")]);
        let settings = Settings::read(&mut reader);
        let settings = reader.finish(settings).unwrap();
        let mut platform = world.platform(&settings.owner.common);
        let secrets = Arc::new(Counted { source: platform.secrets.clone(), reads: AtomicUsize::new(0) });
        platform.secrets = secrets.clone();
        let app = App::new(&settings, &platform);
        let edge = Edge::new("provision", &settings.owner.common, world.clock_rng());
        let router = edge.assemble(router(app.clone()));
        Self { world, secrets, app, router }
    }

    async fn prewarm(&self) {
        self.app.prewarm(Deadline::after(std::time::Duration::from_secs(5))).await;
    }

    async fn ask(&self, token: Option<&str>) -> Reply {
        let mut request = Request::get("/scim/v2/Users");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        Reply::read(self.router.clone().oneshot(request).await.unwrap()).await
    }

    fn reads(&self) -> usize {
        self.secrets.reads.load(Ordering::SeqCst)
    }
}

fn token() -> NewToken {
    NewToken::generate("okta", &SystemRng)
}

/// Documents without a token. `None` means that the secret does not exist.
const WITHOUT_TOKENS: [Option<&str>; 8] = [
    Some(r#"{"tokens":[]}"#),
    Some(r#"{"tokens":null}"#),
    Some("{}"),
    Some(r#"{"comment":"none yet"}"#),
    Some("null"),
    Some(""),
    Some(" \n"),
    None,
];

#[tokio::test]
async fn r77_without_any_token_nobody_has_access_and_no_alarm_is_raised() {
    for document in WITHOUT_TOKENS {
        let fixture = Fixture::start(document).await;
        let log = Log::start();
        fixture.prewarm().await;
        let made = token();
        for token in [None, Some("fgscim_made-up"), Some(made.token.expose_secret())] {
            let reply = fixture.ask(token).await;
            assert_eq!(reply.header("www-authenticate"), "Bearer", "{document:?}: {}", reply.text);
            assert!(!reply.text.contains("scim-tokens"), "{}", reply.text);
            reply.refused(401, "-");
        }
        let lines: Vec<Value> = log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let loud: Vec<_> = lines.iter().filter(|line| line["level"] == "ERROR" || line["level"] == "WARN").collect();
        assert!(loud.is_empty(), "{document:?}: {loud:?}");
        let reason = lines.iter().filter_map(|line| line["fault"].as_str());
        let reason: Vec<_> = reason.filter(|fault| fault.contains("scim-tokens")).collect();
        assert_eq!(reason.len(), 2, "each request with a token is told from a wrong token in the log: {lines:?}");
    }
}

#[tokio::test]
async fn r77_without_any_token_the_secret_is_read_once_a_minute_at_most() {
    for document in WITHOUT_TOKENS {
        let fixture = Fixture::start(document).await;
        for _ in 0..20 {
            fixture.ask(Some("fgscim_made-up")).await.refused(401, "-");
            fixture.ask(None).await.refused(401, "-");
        }
        assert_eq!(fixture.reads(), 1, "{document:?}");
        for minute in 1..=10 {
            fixture.world.advance(Duration::seconds(60)).await;
            for _ in 0..5 {
                fixture.ask(Some("fgscim_made-up")).await.refused(401, "-");
            }
            assert!(fixture.reads() <= 1 + minute, "{document:?}: {} reads in {minute} minutes", fixture.reads());
        }
    }
}

#[tokio::test]
async fn r77_the_first_token_works_within_a_minute_and_removing_it_ends_access_in_five() {
    for document in WITHOUT_TOKENS {
        let fixture = Fixture::start(document).await;
        fixture.prewarm().await;
        let made = token();
        let token = Some(made.token.expose_secret());
        fixture.ask(token).await.refused(401, "-");
        fixture.world.write_secret("scim-tokens", &serde_json::to_value(&made.hashes).unwrap());
        fixture.world.advance(Duration::seconds(60)).await;
        fixture.ask(token).await.is(200);
        fixture.world.write_secret("scim-tokens", &json!({ "tokens": [] }));
        fixture.world.advance(Duration::minutes(5)).await;
        fixture.ask(token).await.refused(401, "-");
    }
}

#[tokio::test]
async fn r77_a_secret_that_is_wrong_instead_of_empty_is_read_once_in_five_seconds() {
    let three = json!({ "tokens": vec![json!({ "id": "a", "sha256": "A".repeat(43) }); 3] }).to_string();
    for document in [three.as_str(), r#"{"tokens":[{}]}"#, r#"{"tokens":"fgscim_x"}"#, "[]", "7", "not JSON"] {
        let fixture = Fixture::start(Some(document)).await;
        for _ in 0..10 {
            fixture.ask(Some("fgscim_made-up")).await.refused(503, "-");
        }
        assert_eq!(fixture.reads(), 1, "{document}");
        fixture.world.advance(Duration::seconds(5)).await;
        fixture.ask(Some("fgscim_made-up")).await.refused(503, "-");
        assert_eq!(fixture.reads(), 2, "{document}");
    }
}

#[tokio::test]
async fn r77_a_secret_that_disappears_does_not_end_the_access_of_its_tokens_at_once() {
    let fixture = Fixture::start(None).await;
    let made = token();
    let token = Some(made.token.expose_secret());
    fixture.world.write_secret("scim-tokens", &serde_json::to_value(&made.hashes).unwrap());
    fixture.ask(token).await.is(200);
    std::fs::remove_file(fixture.world.secret_path("scim-tokens")).unwrap();
    fixture.world.advance(Duration::minutes(50)).await;
    fixture.ask(token).await.is(200);
    fixture.world.advance(Duration::minutes(11)).await;
    fixture.ask(token).await.refused(401, "-");
}
