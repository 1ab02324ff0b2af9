//! Tests the look-up at Microsoft Graph (case R65 of the attack register). One server plays Microsoft's sign-in and
//! Graph.

#![expect(clippy::disallowed_types, reason = "the server stands for Microsoft, not for Flexgate")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use flexgate::base::outbound::Deadline;
use flexgate::domain::{FlexUserSid, Identity};
use flexgate::platform::Platform;
use flexgate_apply::{App, Handled, Settings};
use flexgate_test_support::{Log, World};
use serde_json::{Value, json};

const TENANT: &str = "11111111-1111-4111-8111-111111111111";
const ADA: &str = "aaaaaaaa-0000-4000-8000-000000000001";

/// The state of the server that plays Microsoft: the answers to send, the number of issued tokens, and the received
/// requests.
#[derive(Default)]
struct Microsoft {
    user: Option<(u16, Value)>,
    sign_in: u16,
    tokens: usize,
    asked: Vec<String>,
}

type Shared = Arc<Mutex<Microsoft>>;

async fn sign_in(
    State(microsoft): State<Shared>,
    Path(tenant): Path<String>,
    form: String,
) -> (StatusCode, Json<Value>) {
    let mut microsoft = microsoft.lock().unwrap();
    microsoft.tokens += 1;
    microsoft.asked.push(format!("{tenant} {form}"));
    let token = json!({ "access_token": format!("graph-token-{}", microsoft.tokens), "expires_in": 3600 });
    (StatusCode::from_u16(microsoft.sign_in).unwrap(), Json(token))
}

async fn user(
    State(microsoft): State<Shared>,
    Path(person): Path<String>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    let mut microsoft = microsoft.lock().unwrap();
    let bearer = headers["authorization"].to_str().unwrap().to_owned();
    microsoft.asked.push(format!("{person} {bearer}"));
    if bearer != format!("Bearer graph-token-{}", microsoft.tokens) {
        return (StatusCode::UNAUTHORIZED, Json(json!({})));
    }
    let (status, body) = microsoft.user.clone().unwrap();
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

/// Graph's answer about a person who does not exist.
fn gone() -> Value {
    json!({ "error": { "code": "Request_ResourceNotFound" } })
}

struct Tenant {
    world: World,
    platform: Platform,
    app: Arc<App>,
    microsoft: Shared,
}

impl Tenant {
    async fn start() -> Self {
        let microsoft: Shared = Arc::new(Mutex::new(Microsoft { sign_in: 200, ..Microsoft::default() }));
        let routes = Router::new()
            .route("/{tenant}/oauth2/v2.0/token", post(sign_in))
            .route("/v1.0/users/{person}", get(user))
            .with_state(microsoft.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });

        let world = World::on_one_clock().await;
        let credential = json!({ "tenant_id": TENANT, "client_id": "app-1", "client_secret": "canary-secret" });
        world.write_secret("graph", &credential);
        let mut reader = world.reader().with([
            ("FLEXGATE_GRAPH_SECRET_ID", "graph"),
            ("FLEXGATE_GRAPH_URL", address.as_str()),
            ("FLEXGATE_GRAPH_LOGIN_URL", address.as_str()),
        ]);
        let settings = Settings::read(&mut reader);
        let settings = reader.finish(settings).unwrap();
        let platform = world.platform(&settings.common);
        let app = App::new(&settings, &platform);
        let tenant = Self { world, platform, app, microsoft };
        // Ada is already a Flex user.
        assert_eq!(tenant.handle("upsert", 50, false, &format!("{TENANT}:{ADA}")).await, Handled::Done);
        tenant
    }

    async fn handle(&self, action: &str, minutes_ago: i64, look_up: bool, subject: &str) -> Handled {
        let at = self.world.clock_rng().now() - time::Duration::minutes(minutes_ago);
        let mut event = json!({
            "kind": "event", "id": format!("{action}-{minutes_ago}"), "source": "graph", "action": action,
            "occurred_at": at.format(&time::format_description::well_known::Rfc3339).unwrap(),
            "subject": { "id": subject }, "look_up": look_up,
        });
        if action == "upsert" {
            event["profile"] = json!({ "username": "ada", "email": "ada@example.com", "full_name": "Ada Lovelace" });
        }
        self.app.handle(&event.to_string(), 1, Deadline::after(Duration::from_secs(20))).await
    }

    /// Applies a change notification about ada. Graph answers the look-up with `status` and `body`.
    async fn changed(&self, minutes_ago: i64, status: u16, body: Value) -> Handled {
        self.microsoft.lock().unwrap().user = Some((status, body));
        self.handle("refresh", minutes_ago, true, &format!("{TENANT}:{ADA}")).await
    }

    async fn ada(&self) -> Value {
        self.world.twilio_user("ada").await.unwrap()
    }

    fn asked(&self) -> usize {
        self.microsoft.lock().unwrap().asked.len()
    }
}

#[tokio::test]
async fn r65_a_user_who_is_soft_deleted_or_disabled_loses_access_at_once() {
    for (status, body) in [(404, gone()), (200, json!({ "accountEnabled": false, "displayName": "Ada Lovelace" }))] {
        let tenant = Tenant::start().await;
        let log = Log::start();
        assert_eq!(tenant.changed(40, status, body).await, Handled::Done);
        assert_eq!(tenant.ada().await["deactivated"], true, "{status}");
        let text = log.text();
        assert!(!text.contains("canary-secret") && !text.contains("graph-token"), "{text}");
    }
}

#[tokio::test]
async fn r65_a_user_who_is_still_there_keeps_access_and_the_profile_follows() {
    let tenant = Tenant::start().await;
    let user = json!({ "accountEnabled": true, "displayName": "Ada King", "givenName": "Ada", "surname": "King",
        "mail": "king@example.com" });
    assert_eq!(tenant.changed(40, 200, user).await, Handled::Done);
    let ada = tenant.ada().await;
    assert_eq!((&ada["deactivated"], &ada["full_name"]), (&json!(false), &json!("Ada King")));
    assert_eq!(ada["email"], "king@example.com");
    // Graph omits a property without a value, or sends null. Neither changes the Flex user.
    let user = json!({ "accountEnabled": null, "displayName": null, "mail": null });
    assert_eq!(tenant.changed(30, 200, user).await, Handled::Done);
    assert_eq!(tenant.ada().await["deactivated"], false);
    assert_eq!(tenant.microsoft.lock().unwrap().tokens, 1, "one token for several look-ups");
}

#[tokio::test]
async fn r65_whoever_was_disabled_and_is_enabled_again_is_no_longer_held_inactive() {
    let tenant = Tenant::start().await;
    assert_eq!(tenant.changed(40, 200, json!({ "accountEnabled": false })).await, Handled::Done);
    // Flexgate records Graph's data with the time of the look-up, even if the notification is old. So let time pass
    // between the look-ups.
    tenant.world.advance(time::Duration::MINUTE).await;
    assert_eq!(tenant.changed(50, 200, json!({ "accountEnabled": true })).await, Handled::Done);
    tenant.world.advance(time::Duration::MINUTE).await;
    assert_eq!(tenant.handle("upsert", 0, false, &format!("{TENANT}:{ADA}")).await, Handled::Done);
    assert_eq!(tenant.ada().await["deactivated"], false);
}

#[tokio::test]
async fn r65_nobody_loses_access_because_graph_fails_or_refuses() {
    let tenant = Tenant::start().await;
    for status in [400, 403, 429, 500, 503] {
        assert_eq!(tenant.changed(40, status, json!({})).await, Handled::Again, "{status}");
    }
    assert_eq!(tenant.changed(40, 200, json!("no user")).await, Handled::Again);
    for body in [json!({}), json!("<html>not found</html>"), json!({ "error": { "code": "ResourceNotFound" } })] {
        assert_eq!(tenant.changed(40, 404, body).await, Handled::Again, "a 404 that is not Graph's word about a user");
    }
    assert_eq!(tenant.ada().await["deactivated"], false);
    // Graph stops accepting the old access token, so Flexgate gets a new one.
    tenant.microsoft.lock().unwrap().tokens += 1;
    assert_eq!(tenant.changed(40, 200, json!({ "accountEnabled": false })).await, Handled::Done);
    assert_eq!(tenant.ada().await["deactivated"], true);
}

#[tokio::test]
async fn r65_without_an_access_token_the_event_waits() {
    let tenant = Tenant::start().await;
    tenant.microsoft.lock().unwrap().sign_in = 401;
    assert_eq!(tenant.changed(40, 404, json!({})).await, Handled::Again);
    assert_eq!(tenant.ada().await["deactivated"], false);
}

#[tokio::test]
async fn r65_nobody_else_is_looked_up() {
    let tenant = Tenant::start().await;
    tenant.microsoft.lock().unwrap().user = Some((404, gone()));
    for (number, subject) in [
        "22222222-2222-4222-8222-222222222222:aaaaaaaa-0000-4000-8000-000000000001".to_owned(),
        format!("{TENANT}:.."),
        format!("{TENANT}:a/b?c"),
        format!("{TENANT}:"),
        // A person who is not a Flex user.
        format!("{TENANT}:bbbbbbbb-0000-4000-8000-000000000002"),
    ]
    .iter()
    .enumerate()
    {
        let minutes = 40 - i64::try_from(number).unwrap();
        assert_eq!(tenant.handle("refresh", minutes, true, subject).await, Handled::Done, "{subject}");
    }
    assert_eq!(tenant.handle("refresh", 30, false, &format!("{TENANT}:{ADA}")).await, Handled::Done);
    assert_eq!(tenant.asked(), 0);
    assert_eq!(tenant.ada().await["deactivated"], false);
}

#[tokio::test]
async fn r65_a_token_is_used_only_for_the_tenant_that_it_is_for() {
    let tenant = Tenant::start().await;
    assert_eq!(tenant.changed(40, 200, json!({ "accountEnabled": true })).await, Handled::Done);
    let other = "33333333-3333-4333-8333-333333333333";
    let subject = format!("{other}:{ADA}");
    let credential = json!({ "tenant_id": other, "client_id": "app-2", "client_secret": "canary-secret" });
    tenant.world.write_secret("graph", &credential);
    tenant.world.advance(time::Duration::minutes(6)).await;
    // Flexgate looks up only people whom the ledger knows. So this event tells the ledger about Grace, who belongs to
    // the other tenant.
    let at = tenant.world.clock_rng().now() - time::Duration::minutes(30);
    let grace = json!({
        "kind": "event", "id": "grace", "source": "graph", "action": "upsert", "subject": { "id": subject },
        "occurred_at": at.format(&time::format_description::well_known::Rfc3339).unwrap(),
        "profile": { "username": "grace", "email": "grace@example.com", "full_name": "Grace Hopper" },
    });
    let deadline = || Deadline::after(Duration::from_secs(20));
    assert_eq!(tenant.app.handle(&grace.to_string(), 1, deadline()).await, Handled::Done);
    assert_eq!(tenant.handle("refresh", 20, true, &subject).await, Handled::Done);
    let asked = tenant.microsoft.lock().unwrap().asked.clone();
    assert_eq!(tenant.microsoft.lock().unwrap().tokens, 2, "{asked:?}");
    assert!(asked[2].starts_with(other) && asked[2].contains("client_id=app-2"), "{asked:?}");
}

#[tokio::test]
async fn r65_whoever_is_bound_loses_access_though_the_ledger_never_heard_of_them() {
    for look_up in [true, false] {
        let tenant = Tenant::start().await;
        let sid: FlexUserSid = tenant.world.at_twilio("lin", &["agent"]).await.parse().unwrap();
        let lin = "cccccccc-0000-4000-8000-000000000003";
        let subject = format!("{TENANT}:{lin}");
        let issuer: Box<str> = format!("https://login.microsoftonline.com/{TENANT}/v2.0").into();
        let identity = Identity { issuer: issuer.clone(), subject: subject.as_str().into() };
        let now = tenant.world.clock_rng().now();
        tenant.platform.bindings().bind(&identity, &sid, now).await.unwrap();
        tenant.microsoft.lock().unwrap().user = Some((404, gone()));
        let event = json!({
            "kind": "event", "id": "lin", "source": "graph", "action": if look_up { "refresh" } else { "deactivate" },
            "occurred_at": now.format(&time::format_description::well_known::Rfc3339).unwrap(),
            "subject": { "id": subject, "issuer": issuer }, "look_up": look_up,
        });
        let handled = tenant.app.handle(&event.to_string(), 1, Deadline::after(Duration::from_secs(20))).await;
        assert_eq!(handled, Handled::Done);
        assert_eq!(tenant.world.twilio_user("lin").await.unwrap()["deactivated"], true, "{look_up}");
        assert_eq!(tenant.platform.bindings().user_of(&identity).await.unwrap(), None, "{look_up}");
    }
}
