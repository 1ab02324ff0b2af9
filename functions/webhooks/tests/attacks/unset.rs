//! Tests the function on Lambda while a source has no usable secret, as in a new deployment (attack W16 of the attack
//! register).

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use flexgate::base::outbound::Deadline;
use flexgate::secrets::{FetchError, SecretSource, SecretValue, Stage};
use flexgate_test_support::Log;
use time::Duration;

use super::*;

/// Counts the reads of secrets.
#[derive(Debug)]
struct Counted {
    source: Arc<dyn SecretSource>,
    reads: AtomicUsize,
}

#[async_trait]
impl SecretSource for Counted {
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.source.fetch(id, stage, deadline).await
    }
}

struct OnLambda {
    world: World,
    secrets: Arc<Counted>,
    router: Router,
}

impl OnLambda {
    /// Starts the function as its `main` does, with the sources `standard` and `okta`. `document` is the document with
    /// the sources' secrets. `None` means that there is no document.
    async fn start(document: Option<&str>) -> Self {
        let world = World::on_one_clock().await;
        if let Some(text) = document {
            std::fs::write(world.secret_path("webhook-secrets"), text).unwrap();
        }
        let settings = settings(&world, &json!({ "standard": {}, "okta": {} }));
        let mut platform = world.platform(&settings.common);
        let secrets = Arc::new(Counted { source: platform.secrets.clone(), reads: AtomicUsize::new(0) });
        platform.secrets = secrets.clone();
        let app = App::new(&settings.webhooks, &platform);
        app.prewarm(Deadline::after(std::time::Duration::from_secs(5))).await;
        let router = Edge::new("webhooks", &settings.common, world.clock_rng()).assemble(router(app));
        Self { world, secrets, router }
    }

    async fn okta(&self, secret: &str) -> Reply {
        let request = Request::post("/webhooks/okta").header("content-type", "application/json");
        let request = request.header("authorization", secret).body(Body::from(r#"{"data":{"events":[]}}"#));
        Browser::new(self.router.clone()).send(request.unwrap()).await
    }

    async fn standard(&self, key: &[u8]) -> Reply {
        let now = self.world.clock_rng().now().unix_timestamp();
        let (time, body) = (now.to_string(), clerk("user.created", "ada", now * 1000).to_string());
        let signature = sign(key, "msg_1", &time, body.as_bytes());
        let mut request = Request::post("/webhooks/standard");
        for (name, value) in standard_headers("msg_1", &time, &signature) {
            request = request.header(name, value);
        }
        Browser::new(self.router.clone()).send(request.body(Body::from(body)).unwrap()).await
    }

    fn write(&self, document: &Value) {
        self.world.write_secret("webhook-secrets", document);
    }

    fn reads(&self) -> usize {
        self.secrets.reads.load(Ordering::SeqCst)
    }
}

const UNAVAILABLE: u16 = 503;

/// Documents without a secret for any source. `None` means that there is no document.
const UNSET: [Option<&str>; 5] = [Some("{}"), Some("null"), Some(""), Some("\n"), None];

#[tokio::test]
async fn w16_on_lambda_it_starts_without_secrets_and_says_why_in_the_log_only() {
    for document in UNSET {
        let log = Log::start();
        let lambda = OnLambda::start(document).await;
        for secret in [SECRET, "", "k3J9x7Qp2LmN8vRtZ5-wrong"] {
            let reply = lambda.okta(secret).await;
            assert_eq!(reply.problem(), (UNAVAILABLE, "unavailable".to_owned()), "{document:?}: {}", reply.text);
            assert!(!reply.header("retry-after").is_empty());
            assert!(!reply.text.contains("okta") && !reply.text.contains("no secret"), "{}", reply.text);
        }
        let text = log.text();
        assert!(text.contains("the source okta has no secret"), "{text}");
        assert!(!text.contains(r#""level":"ERROR""#), "{text}");
        let request = Request::get("/webhooks/okta").header("x-okta-verification-challenge", "a").body(Body::empty());
        let reply = Browser::new(lambda.router.clone()).send(request.unwrap()).await;
        assert_eq!((reply.status.as_u16(), reply.body), (200, json!({ "verification": "a" })), "Okta can be set up");
    }
}

#[tokio::test]
async fn w16_on_lambda_a_bad_secret_of_one_source_leaves_the_others_alone() {
    let good = format!("whsec_{}", STANDARD.encode(KEY));
    for (okta, says) in [
        (json!(null), "no secret"),
        (json!(""), "an empty secret"),
        (json!([]), "one secret, or two"),
        (json!([null]), "one secret, or two"),
        (json!(["a", "b", "c"]), "one secret, or two"),
        (json!([SECRET, ""]), "an empty secret"),
        (json!("changeme"), "stands in documentation"),
        (json!("aaaaaaaaaaaaaaaaaaaaaaaa"), "8 different characters"),
        (json!(7), "one secret, or two"),
        (json!({ "secret": SECRET }), "one secret, or two"),
    ] {
        let log = Log::start();
        let lambda = OnLambda::start(Some(&json!({ "okta": okta, "standard": good }).to_string())).await;
        for secret in [SECRET, okta.as_str().unwrap_or_default()] {
            assert_eq!(lambda.okta(secret).await.status, UNAVAILABLE, "{okta}");
        }
        assert_eq!(lambda.standard(KEY).await.status, 202, "{okta}");
        let text = log.text();
        assert!(text.contains(&format!("the source okta has {says}")) || text.contains(says), "{okta}: {text}");
        assert!(okta.as_str().is_none_or(|secret| secret.is_empty() || !text.contains(secret)), "{text}");
    }
}

#[tokio::test]
async fn w16_on_lambda_a_key_that_its_source_cannot_use_proves_nothing() {
    let short = &KEY[..18];
    for secret in [format!("whsec_{}", STANDARD.encode(short)), "whsec_not base64, whatever it is".to_owned()] {
        let log = Log::start();
        let lambda = OnLambda::start(Some(&json!({ "okta": SECRET, "standard": secret }).to_string())).await;
        assert_eq!(lambda.standard(short).await.status, UNAVAILABLE, "{secret}");
        assert_eq!(lambda.okta(SECRET).await.status, 202);
        let text = log.text();
        assert!(text.contains("the secret of the source standard is") && !text.contains(&secret), "{text}");
    }
}

#[tokio::test]
async fn w16_on_lambda_a_misspelt_entry_leaves_the_others_alone() {
    let lambda = OnLambda::start(Some(&json!({ "okta": SECRET, "Clerk EU": SECRET, "": 7 }).to_string())).await;
    assert_eq!(lambda.okta(SECRET).await.status, 202);
}

#[tokio::test]
async fn w16_on_lambda_a_missing_secret_is_read_once_a_minute_and_works_within_one() {
    for document in UNSET {
        let lambda = OnLambda::start(document).await;
        assert_eq!(lambda.reads(), 1);
        for minute in 1..=10 {
            for _ in 0..5 {
                assert_eq!(lambda.okta(SECRET).await.status, UNAVAILABLE);
                assert_eq!(lambda.standard(KEY).await.status, UNAVAILABLE);
            }
            assert!(lambda.reads() <= 1 + minute, "{document:?}: {} reads in {minute} minutes", lambda.reads());
            lambda.world.advance(Duration::minutes(1)).await;
        }
        lambda.write(&json!({ "okta": SECRET }));
        assert_eq!(lambda.okta(SECRET).await.status, 202, "{document:?}");
        assert_eq!(lambda.okta("k3J9x7Qp2LmN8vRtZ5-wrong").await.status, 401);
        // The source `standard` gets its secret later.
        assert_eq!(lambda.standard(KEY).await.status, UNAVAILABLE);
        lambda.write(&json!({ "okta": SECRET, "standard": format!("whsec_{}", STANDARD.encode(KEY)) }));
        lambda.world.advance(Duration::minutes(1)).await;
        assert_eq!(lambda.standard(KEY).await.status, 202);
    }
}

/// An administrator adds new secrets to the document. Flexgate accepts deliveries with the new secrets immediately.
#[tokio::test]
async fn w17_a_secret_that_was_added_proves_a_delivery_at_once() {
    let old = "p8Rv2Lq7Xw4NzT9kYb6c";
    let key = |key: &[u8]| format!("whsec_{}", STANDARD.encode(key));
    let lambda = OnLambda::start(Some(&json!({ "okta": old, "standard": key(&[7; 32]) }).to_string())).await;
    assert_eq!(lambda.okta(old).await.status, 202);
    lambda.write(&json!({ "okta": [SECRET, old], "standard": [key(KEY), key(&[7; 32])] }));
    assert_eq!(lambda.okta(SECRET).await.status, 202);
    assert_eq!(lambda.standard(KEY).await.status, 202);
    assert_eq!(lambda.okta(old).await.status, 202);
    assert_eq!(lambda.reads(), 2);
    // Forged deliveries cause one read a minute.
    for minute in 1..=3 {
        for n in 0..5 {
            assert_eq!(lambda.okta(&format!("k3J9x7Qp2LmN8vRtZ5-{n}")).await.status, 401);
        }
        assert!(lambda.reads() <= 2 + minute, "{} reads in {minute} minutes", lambda.reads());
        lambda.world.advance(Duration::minutes(1)).await;
    }
}

#[tokio::test]
async fn w16_on_lambda_a_document_that_cannot_be_read_is_no_reason_not_to_start() {
    for document in ["[]", "7", "\"x\"", "not JSON"] {
        let log = Log::start();
        let lambda = OnLambda::start(Some(document)).await;
        for _ in 0..5 {
            assert_eq!(lambda.okta(SECRET).await.status, UNAVAILABLE, "{document}");
        }
        assert_eq!(lambda.reads(), 1, "{document}");
        assert!(log.text().contains("the secret webhook-secrets is malformed"), "{}", log.text());
        lambda.write(&json!({ "okta": SECRET }));
        lambda.world.advance(Duration::seconds(5)).await;
        assert_eq!(lambda.okta(SECRET).await.status, 202, "{document}");
    }
}
