//! Groups of many through a gateway that is killed, and changes that cross: R41, R52.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use flexgate::base::ambient::SystemEntropy;
use flexgate::base::outbound::{Deadline, http_client, send};
use flexgate::store::{EventStatus, SqliteStore};
use flexgate_provision::NewToken;
use flexgate_test_support::{Process, World, free_port};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const VARIABLES: [(&str, &str); 3] = [
    ("SCIM_TOKENS_SECRET_ID", "scim-tokens"),
    ("FLEXGATE_SCIM_GROUP_ROLES", r#"{"Leads": "supervisor"}"#),
    ("FLEXGATE_LOG", "error"),
];

/// A gateway that serves SCIM, and a client of it.
struct Scim {
    world: World,
    gateway: Option<Process>,
    client: Client,
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    port: u16,
    token: String,
}

impl Client {
    /// The answer, whatever it is; `None` if there is none.
    async fn once(&self, method: &Method, path: &str, body: &Value) -> Option<(StatusCode, Value)> {
        let url = format!("http://127.0.0.1:{}/scim/v2{path}", self.port).parse().unwrap();
        let mut request = reqwest::Request::new(method.clone(), url);
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token)).unwrap();
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/scim+json"));
        *request.body_mut() = Some(body.to_string().into());
        let answer = send(&self.http, request, Deadline::after(Duration::from_secs(30)), 8 << 20).await.ok()?;
        Some((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    /// What a client of SCIM does: it asks again while the answer is 503.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        for _ in 0..200 {
            match self.once(&method, path, &body).await {
                Some((status, body)) if status.is_success() => return body,
                Some((StatusCode::SERVICE_UNAVAILABLE, _)) | None => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => unreachable!("{method} {path}: {other:?}"),
            }
        }
        unreachable!("{method} {path} never succeeds")
    }

    async fn patch(&self, path: &str, operation: Value) -> Value {
        self.ask(Method::PATCH, path, json!({ "Operations": [operation] })).await
    }
}

impl Scim {
    async fn start() -> Self {
        let world = World::start().await;
        let made = NewToken::generate("test", &SystemEntropy);
        world.write_secret("scim-tokens", &serde_json::to_value(&made.hashes).unwrap());
        let port = free_port();
        let gateway = Some(Process::live_with(BINARY, &world, port, &VARIABLES));
        let token = made.token.expose_secret().to_owned();
        let client = Client { http: http_client(&[]).unwrap(), port, token };
        Self { world, gateway, client }
    }

    /// SIGKILL, and another process at the same data.
    fn kill(&mut self) {
        drop(self.gateway.take());
        self.gateway = Some(Process::live_with(BINARY, &self.world, self.client.port, &VARIABLES));
    }

    async fn simulator(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/__sim/{path}", self.world.simulator.url()).parse().unwrap();
        let mut request = reqwest::Request::new(method, url);
        if !body.is_null() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.to_string().into());
        }
        serde_json::from_slice(&self.world.exchange(request).await.body).unwrap()
    }

    /// Twilio's users by SID.
    async fn users(&self) -> BTreeMap<String, Value> {
        let users = self.simulator(Method::GET, "users", Value::Null).await;
        let users = users["users"].as_array().unwrap().clone();
        users.into_iter().map(|user| (user["flex_user_sid"].as_str().unwrap().to_owned(), user)).collect()
    }

    async fn waiting(&self) -> u64 {
        let inbox = SqliteStore::open(&self.world.store_path()).unwrap().inbox();
        inbox.count(EventStatus::Waiting).await.unwrap()
    }

    async fn wait_until_at_most(&self, left: u64) {
        let began = Instant::now();
        while self.waiting().await > left {
            assert!(began.elapsed() < Duration::from_secs(300), "the queue does not empty");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn dead(&self) -> u64 {
        let inbox = SqliteStore::open(&self.world.store_path()).unwrap().inbox();
        inbox.count(EventStatus::Dead).await.unwrap()
    }

    async fn group(&self, name: &str) -> String {
        let group = self.client.ask(Method::POST, "/Groups", json!({ "displayName": name })).await;
        format!("/Groups/{}", group["id"].as_str().unwrap())
    }
}

fn members(users: &BTreeMap<String, Value>) -> Value {
    users.keys().map(|sid| json!({ "value": sid })).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_a_group_of_five_thousand_is_answered_at_once_and_followed_through_kills() {
    const MEMBERS: u64 = 5_000;
    let mut scim = Scim::start().await;
    scim.simulator(Method::POST, "users", json!({ "count": MEMBERS })).await;
    let (group, users) = (scim.group("Leads").await, scim.users().await);
    let began = Instant::now();
    let shown =
        scim.client.patch(&group, json!({ "op": "add", "path": "members", "value": members(&users) })).await;
    println!("a PATCH that adds {MEMBERS} members is answered after {:?}", began.elapsed());
    assert_eq!(shown["members"].as_array().unwrap().len() as u64, MEMBERS);
    for kill in 1..=3 {
        scim.wait_until_at_most(MEMBERS * (4 - kill) / 4).await;
        scim.kill();
    }
    scim.wait_until_at_most(0).await;
    println!("and {MEMBERS} members have the role after {:?}", began.elapsed());
    assert_eq!(scim.dead().await, 0);
    let without = scim.users().await.values().filter(|user| user["roles"] != json!(["agent", "supervisor"])).count();
    assert_eq!(without, 0, "members without the role");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_a_group_that_is_emptied_takes_every_role_back() {
    let mut scim = Scim::start().await;
    scim.simulator(Method::POST, "users", json!({ "count": 300 })).await;
    let (group, users) = (scim.group("Leads").await, scim.users().await);
    scim.client.patch(&group, json!({ "op": "add", "path": "members", "value": members(&users) })).await;
    // Before everybody has the role, half of them leave; the process dies, and the rest leaves.
    let half = users.iter().take(150).map(|(sid, user)| (sid.clone(), user.clone())).collect();
    scim.client.patch(&group, json!({ "op": "remove", "path": "members", "value": members(&half) })).await;
    scim.kill();
    scim.client.ask(Method::DELETE, &group, Value::Null).await;
    scim.wait_until_at_most(0).await;
    assert_eq!(scim.dead().await, 0);
    let with = scim.users().await.values().filter(|user| user["roles"] != json!(["agent"])).count();
    assert_eq!(with, 0, "users with a role that nobody gives them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r41_changes_of_users_and_of_their_group_that_cross_end_the_same_in_every_order() {
    const PAIRS: usize = 40;
    const RUNS: usize = 20;
    let scim = Scim::start().await;
    scim.simulator(Method::POST, "users", json!({ "count": PAIRS })).await;
    let (group, users) = (scim.group("Leads").await, scim.users().await);
    for run in 0..RUNS {
        let joins = run % 2 == 0;
        let mut pairs = JoinSet::new();
        for sid in users.keys().cloned() {
            let (client, group) = (scim.client.clone(), group.clone());
            pairs.spawn(async move {
                let (user, name) = (format!("/Users/{sid}"), format!("Name {run}"));
                let renamed = json!({ "op": "replace", "path": "displayName", "value": name });
                let membership = if joins {
                    json!({ "op": "add", "path": "members", "value": [{ "value": sid }] })
                } else {
                    json!({ "op": "remove", "path": format!("members[value eq \"{sid}\"]") })
                };
                tokio::join!(client.patch(&user, renamed), client.patch(&group, membership))
            });
        }
        pairs.join_all().await;
        scim.wait_until_at_most(0).await;
        let roles = if joins { json!(["agent", "supervisor"]) } else { json!(["agent"]) };
        for (sid, user) in scim.users().await {
            assert_eq!((&user["roles"], &user["full_name"]), (&roles, &json!(format!("Name {run}"))), "{run}: {sid}");
        }
    }
    assert_eq!(scim.dead().await, 0);
}
