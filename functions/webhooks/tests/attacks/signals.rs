//! Tests forged, wrong and repeated security events (attacks G1 to G11 of the attack register). The simulated identity
//! provider signs the events.

use flexgate::domain::FlexUserSid;
use flexgate::store::{EndingKey, Lane, Message, Session, SessionKey, SessionOrigin};
use time::Duration;

use super::*;

pub const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type";
pub const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type";
pub const AUDIENCE: &str = "https://flexgate.example/webhooks/signals";
pub const REVOKES: &str = "https://flexgate.example/webhooks/logout";
const SECEVENT: (&str, &str) = ("content-type", "application/secevent+jwt");

/// The header of a valid security event token.
fn header() -> Value {
    json!({ "typ": "secevent+jwt" })
}

/// The claim `events` of a token, with one event: the person's sessions were revoked.
fn session_revoked() -> Value {
    json!({ format!("{CAEP}/session-revoked"): {} })
}

impl Hooks {
    /// Starts the functions with two sources of signals, and creates ada. Both sources use the same ids for people as
    /// the source `standard`.
    pub async fn with_signals() -> Self {
        let world = World::on_one_clock().await;
        world.write_secret("webhook-secrets", &secrets());
        let mut sources = sources();
        let issuer = world.simulator.issuer();
        let signals = json!({ "kind": "ssf", "transmitter": issuer, "audience": AUDIENCE, "people_of": "standard" });
        sources["signals"] = signals;
        sources["logout"] = json!({ "kind": "global-token-revocation", "transmitter": issuer, "audience": REVOKES,
                                    "people_of": "standard" });
        let hooks = Self::over(world, &sources).await;
        let at = (hooks.now() - 3600) * 1000;
        assert_eq!(hooks.standard("msg_ada", &clerk("user.created", "ada", at)).await.status, 202);
        hooks.settle().await;
        hooks
    }

    pub fn issuer(&self) -> String {
        self.world.simulator.issuer()
    }

    pub fn ada(&self) -> Value {
        json!({ "format": "iss_sub", "iss": self.issuer(), "sub": "user_ada" })
    }

    /// Returns a security event token about ada. `changes` adds, replaces or removes claims.
    pub async fn set(&self, changes: &Value) -> String {
        let mut claims = json!({ "header": header(), "aud": AUDIENCE, "sub": null, "exp": null, "iat": self.now(),
                                 "sub_id": self.ada(), "events": session_revoked() });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.world.token(&claims).await
    }

    pub async fn push(&self, token: impl Into<Vec<u8>>) -> Reply {
        self.post("signals", &[SECEVENT], token).await
    }

    pub async fn sid(&self, username: &str) -> FlexUserSid {
        self.user(username).await["flex_user_sid"].as_str().unwrap().parse().unwrap()
    }

    /// Stores a session of ada that began this many seconds ago.
    pub async fn begin(&self, id: &str, seconds_ago: i64) -> SessionKey {
        let at = self.world.clock_rng().now() - Duration::seconds(seconds_ago);
        let session = Session {
            key: SessionKey::of(id),
            profile: "default".parse().unwrap(),
            flex_user_sid: self.sid("ada").await,
            sealed: "v1.1.sealed".into(),
            version: 0,
            created_at: at,
            used_at: at,
            ends_at: at + Duration::hours(12),
            seat: None,
            origin: SessionOrigin { username: Some("ada".into()), ..SessionOrigin::default() },
        };
        self.platform.sessions().insert(session.clone()).await.unwrap();
        session.key
    }

    pub async fn lasts(&self, session: &SessionKey) -> bool {
        self.platform.sessions().get(session).await.unwrap().is_some()
    }

    /// Asserts that the queue contains no event. It may contain notes for the administrator.
    pub async fn nothing_queued(&self) {
        let now = self.world.clock_rng().now();
        for taken in self.inbox().take(Lane::Events, 50, now, now).await.unwrap() {
            assert!(matches!(serde_json::from_str(&taken.body).unwrap(), Message::Note(_)), "{}", taken.body);
        }
    }

    async fn refuses(&self, changes: &Value, err: &str) {
        let reply = self.push(self.set(changes).await).await;
        assert_eq!((reply.status.as_u16(), reply.body["err"].as_str()), (400, Some(err)), "{changes}: {}", reply.text);
        assert!(reply.body["description"].is_string() && reply.body.as_object().unwrap().len() == 2, "{}", reply.text);
        self.nothing_queued().await;
    }
}

#[tokio::test]
async fn g01_a_token_of_another_type_is_refused() {
    let hooks = Hooks::with_signals().await;
    for typ in [
        json!("JWT"),
        json!("at+jwt"),
        json!("logout+jwt"),
        json!("global-token-revocation+jwt"),
        json!(null),
        json!(7),
    ] {
        hooks.refuses(&json!({ "header": { "typ": typ } }), "invalid_request").await;
    }
    for typ in ["secevent+jwt", "SecEvent+JWT", "application/secevent+jwt"] {
        assert_eq!(hooks.push(hooks.set(&json!({ "header": { "typ": typ } })).await).await.status, 202, "{typ}");
    }
}

#[tokio::test]
async fn g02_a_token_for_another_audience_is_refused() {
    let hooks = Hooks::with_signals().await;
    let (longer, shorter) = (format!("{AUDIENCE}/"), &AUDIENCE[1..]);
    for aud in [
        json!(null),
        json!("https://other.example"),
        json!(longer),
        json!(shorter),
        json!([]),
        json!([longer]),
        json!(7),
    ] {
        hooks.refuses(&json!({ "aud": aud }), "invalid_audience").await;
    }
    assert_eq!(hooks.push(hooks.set(&json!({ "aud": ["a", AUDIENCE] })).await).await.status, 202);
}

#[tokio::test]
async fn g03_a_token_of_another_issuer_is_refused() {
    let hooks = Hooks::with_signals().await;
    let issuer = hooks.issuer();
    for iss in [
        json!(null),
        json!("https://other.example"),
        json!(format!("{issuer}/")),
        json!(issuer.to_uppercase()),
        json!([issuer]),
    ] {
        hooks.refuses(&json!({ "iss": iss }), "invalid_issuer").await;
    }
}

#[tokio::test]
async fn g04_a_token_signed_with_another_key_is_refused() {
    let hooks = Hooks::with_signals().await;
    hooks.refuses(&json!({ "key": "unknown" }), "invalid_key").await;
    // The token above has made Flexgate fetch the keys. The next token has a wrong signature, so Flexgate must fetch
    // the keys again to check it. Flexgate does this only after a minute (attack G12), so wait.
    hooks.world.advance(Duration::MINUTE).await;
    let token = hooks.set(&json!({})).await;
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut other = signature.to_owned();
    other.replace_range(..1, if signature.starts_with('A') { "B" } else { "A" });
    let reply = hooks.push(format!("{signed}.{other}")).await;
    assert_eq!((reply.status.as_u16(), reply.body["err"].as_str()), (400, Some("authentication_failed")));
    hooks.refuses(&json!({ "header": { "typ": "secevent+jwt", "crit": ["exp"] } }), "invalid_request").await;
    assert_eq!(hooks.push(token).await.status, 202);
}

#[tokio::test]
async fn g05_no_signature_and_hmac_with_the_public_key_are_refused() {
    let hooks = Hooks::with_signals().await;
    // If `alg` is `none`, the simulator leaves the signature empty.
    for (alg, err) in
        [("none", "invalid_request"), ("None", "invalid_request"), ("HS256", "invalid_key"), ("RS512", "invalid_key")]
    {
        hooks.refuses(&json!({ "header": { "typ": "secevent+jwt", "alg": alg } }), err).await;
    }
    hooks.refuses(&json!({ "key": "public-pem-as-hmac" }), "invalid_key").await;
    let token = hooks.set(&json!({ "header": { "typ": "secevent+jwt", "alg": "none" } })).await;
    let reply = hooks.push(format!("{}.", token.rsplit_once('.').unwrap().0)).await;
    assert_eq!((reply.status.as_u16(), reply.body["err"].as_str()), (400, Some("invalid_request")));
}

#[tokio::test]
async fn g06_a_token_that_expires_is_refused() {
    let hooks = Hooks::with_signals().await;
    for exp in [json!(hooks.now() + 300), json!(1), json!("soon")] {
        hooks.refuses(&json!({ "exp": exp }), "invalid_request").await;
    }
}

#[tokio::test]
async fn g07_a_token_sent_again_has_one_effect() {
    let hooks = Hooks::with_signals().await;
    let old = hooks.begin("old", 60).await;
    let token = hooks.set(&json!({ "jti": "one" })).await;
    for _ in 0..3 {
        assert_eq!(hooks.push(token.clone()).await.status, 202);
    }
    hooks.settle().await;
    assert!(!hooks.lasts(&old).await);
    hooks.world.advance(Duration::seconds(5)).await;
    let new = hooks.begin("new", 0).await;
    assert_eq!(hooks.push(token).await.status, 202);
    hooks.settle().await;
    // The queue remembers an event's id for a week. If the event is delivered again after that, it still ends only
    // sessions that began before the event.
    let message = json!({ "kind": "signal", "event": { "id": "one", "source": "signals", "action": "end_sessions",
        "occurred_at": "2020-01-01T00:00:00Z", "subject": { "id": "user_ada" } }, "people_of": "webhook:standard",
        "reason": "session-revoked" });
    let deadline = flexgate::base::outbound::Deadline::after(std::time::Duration::from_secs(5));
    assert_eq!(hooks.apply().handle(&message.to_string(), 1, deadline).await, flexgate_apply::Handled::Done);
    assert!(hooks.lasts(&new).await);
}

#[tokio::test]
async fn g08_a_token_without_exactly_one_event_is_refused() {
    let hooks = Hooks::with_signals().await;
    let (one, two) = (format!("{CAEP}/session-revoked"), format!("{CAEP}/credential-change"));
    for events in
        [json!(null), json!({}), json!([]), json!({ &one: null }), json!({ &one: "x" }), json!({ &one: {}, two: {} })]
    {
        hooks.refuses(&json!({ "events": events }), "invalid_request").await;
    }
}

#[tokio::test]
async fn g09_subjects_that_name_nobody_are_refused_for_types_that_matter() {
    let hooks = Hooks::with_signals().await;
    for subject in [
        json!(null),
        json!({}),
        json!({ "format": "phone_number", "phone_number": "+12065550100" }),
        json!({ "format": "complex", "device": { "format": "opaque", "id": "d" } }),
        json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "user_ada" }),
        json!({ "format": "iss_sub", "iss": hooks.issuer(), "sub": "a\u{0}b" }),
        json!({ "format": "email", "email": "" }),
    ] {
        hooks.refuses(&json!({ "sub_id": subject }), "invalid_request").await;
        let events = json!({ format!("{CAEP}/assurance-level-change"): {} });
        let ignored = hooks.set(&json!({ "sub_id": subject, "events": events })).await;
        assert_eq!(hooks.push(ignored).await.status, 202);
    }
    let complex = json!({ "format": "complex", "user": hooks.ada(), "tenant": { "format": "opaque", "id": "t" } });
    assert_eq!(hooks.push(hooks.set(&json!({ "sub_id": complex })).await).await.status, 202);
}

#[tokio::test]
async fn g10_large_deep_and_misshapen_bodies_are_refused() {
    let hooks = Hooks::with_signals().await;
    let token = hooks.set(&json!({})).await;
    for (body, status) in [
        (vec![b'a'; 1 << 20], 413),
        (vec![b'a'; 9000], 413),
        (Vec::new(), 400),
        (b"a.b.c".to_vec(), 400),
        (vec![0xff, 0xfe], 400),
        (format!("{token}.{token}").into_bytes(), 400),
    ] {
        let reply = hooks.push(body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.body["err"].as_str()),
            (status, Some("invalid_request")),
            "{}",
            reply.text
        );
    }
    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({ "a": deep });
    }
    hooks.refuses(&json!({ "deep": deep }), "invalid_request").await;
    for kind in ["application/json", "application/jwt", ""] {
        let reply = hooks.post("signals", &[("content-type", kind)], token.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.body["err"].as_str()), (400, Some("invalid_request")), "{kind}");
    }
    hooks.nothing_queued().await;
    let reply = hooks.get("/webhooks/signals", &[("x-okta-verification-challenge", "x")]).await;
    assert_eq!(reply.problem(), (400, "challenge_invalid".to_owned()));
}

#[tokio::test]
async fn g11_a_token_without_id_or_time_or_from_the_future_is_refused() {
    let hooks = Hooks::with_signals().await;
    for changes in [
        json!({ "jti": null }),
        json!({ "jti": "" }),
        json!({ "jti": 7 }),
        json!({ "jti": "x".repeat(257) }),
        json!({ "iat": null }),
        json!({ "iat": "now" }),
        json!({ "iat": hooks.now() + 61 }),
    ] {
        hooks.refuses(&changes, "invalid_request").await;
    }
    // An event's time may be in the future, for example because the transmitter's clock is fast. Even so, the event
    // must not end sessions that begin after it arrives.
    let ahead = json!({ format!("{CAEP}/session-revoked"): { "event_timestamp": hooks.now() + 86_400 } });
    assert_eq!(hooks.push(hooks.set(&json!({ "iat": hooks.now() + 60, "events": ahead })).await).await.status, 202);
    hooks.settle().await;
    hooks.world.advance(Duration::seconds(1)).await;
    let key = EndingKey::FlexUser(hooks.sid("ada").await);
    let ended = hooks.platform.session_endings().ended_until(&[key]).await.unwrap();
    assert!(!ended.ends(Some(hooks.world.clock_rng().now())));
}
