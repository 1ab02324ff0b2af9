//! Tests webhooks under failures: events arrive twice and in any order, Twilio fails in many ways, and the gateway is
//! killed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::clock_rng::{ClockRng, SystemClock};
use flexgate::base::outbound::{Deadline, HttpClient, http_client, send};
use flexgate::store::{EventStatus, SqliteStore};
use flexgate_test_support::{Process, World, free_port};
use http::{HeaderValue, Method};
use ring::hmac;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const KEY: &[u8] = b"3f1c8a7d5e2b90461d7a8c3e5f902b64";
const VARIABLES: [(&str, &str); 3] = [
    ("FLEXGATE_WEBHOOKS", r#"{"standard":{}}"#),
    ("WEBHOOK_SECRETS_SECRET_ID", "webhook-secrets"),
    ("FLEXGATE_LOG", "error"),
];

const USERS: usize = 200;
const EVENTS: usize = 2_000;
const KILLS: usize = 5;
/// The number of concurrent senders.
const SENDERS: usize = 12;

/// An event. Of all events about a user, the latest one has the highest `order`.
#[derive(Debug, Clone)]
struct Sent {
    user: usize,
    order: (i64, bool, String),
    body: String,
    full_name: String,
    roles: Vec<&'static str>,
}

/// A random number generator with the same sequence in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn events(dice: &mut Dice, now_ms: i64) -> Vec<Sent> {
    let roles: [&[&'static str]; 2] = [&["agent"], &["supervisor"]];
    (0..EVENTS)
        .map(|number| {
            let user = number % USERS;
            // There are only eight different times, so some events about a user have the same time.
            let at = now_ms - 1_000_000 + i64::try_from(dice.below(8)).unwrap() * 1_000;
            let (gone, id) = (dice.below(4) == 0, format!("msg_{number:04}"));
            let full_name = format!("Person {user} in version {number}");
            let roles = roles[dice.below(2)].to_vec();
            let data = json!({ "id": format!("user_{user}"), "username": format!("person{user}"), "updated_at": at,
                "email": format!("person{user}@example.com"), "full_name": full_name, "roles": roles });
            let kind = if gone { "user.deleted" } else { "user.updated" };
            let body = json!({ "type": kind, "data": data }).to_string();
            Sent { user, order: (at, gone, id), body, full_name, roles }
        })
        .collect()
}

/// Delivers the event once. Returns whether the gateway acknowledged the event.
async fn deliver(http: &HttpClient, port: u16, sent: &Sent) -> bool {
    let time = ClockRng { clock: Arc::new(SystemClock), ..ClockRng::system() }.now().unix_timestamp().to_string();
    let id = &sent.order.2;
    let message = format!("{id}.{time}.{}", sent.body);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), message.as_bytes());
    let url = format!("http://127.0.0.1:{port}/webhooks/standard").parse().unwrap();
    let mut request = reqwest::Request::new(Method::POST, url);
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &time),
        ("webhook-signature", &format!("v1,{}", STANDARD.encode(tag))),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    *request.body_mut() = Some(sent.body.clone().into());
    match send(http, request, Deadline::after(Duration::from_secs(5)), 1 << 16).await {
        Ok(answer) => {
            assert!(answer.status == 202 || answer.status.is_server_error(), "{}", answer.status);
            answer.status == 202
        }
        Err(_) => false,
    }
}

/// Delivers the event until the gateway acknowledges it, as webhook senders do.
async fn insist(http: &HttpClient, port: u16, sent: &Sent) {
    for _ in 0..400 {
        if deliver(http, port, sent).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("never acknowledged");
}

async fn world() -> World {
    let world = World::start().await;
    world.write_secret("webhook-secrets", &json!({ "standard": format!("whsec_{}", STANDARD.encode(KEY)) }));
    world
}

async fn users(world: &World) -> BTreeMap<String, Value> {
    let url = format!("{}/__sim/users", world.simulator.url()).parse().unwrap();
    let answer = world.exchange(reqwest::Request::new(Method::GET, url)).await;
    let users: Value = serde_json::from_slice(&answer.body).unwrap();
    let users = users["users"].as_array().unwrap().clone();
    users.into_iter().map(|user| (user["username"].as_str().unwrap().to_owned(), user)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_events_end_where_their_times_say_through_faults_and_kills() {
    let world = world().await;
    for (kind, status) in [("status", 429), ("status", 503), ("reset", 0), ("lost_response", 0)] {
        let mut fault = json!({ "service": "flex-api", "kind": kind, "times": 0, "probability": 0.04 });
        if status > 0 {
            fault["status"] = status.into();
        }
        world.fault(&fault).await;
    }
    let mut dice = Dice(0x5eed_1234_abcd_0001);
    let events = events(&mut dice, world.clock_rng().now().unix_timestamp() * 1000);
    let mut deliveries: Vec<Sent> = events.iter().chain(&events).cloned().collect();
    for last in (1..deliveries.len()).rev() {
        deliveries.swap(last, dice.below(last + 1));
    }

    let port = free_port();
    let http = http_client(&[]).unwrap();
    let mut gateway = Some(Process::live_with(BINARY, &world, port, &VARIABLES));
    let total = deliveries.len();
    let left = Arc::new(Mutex::new(deliveries));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (left, http) = (left.clone(), http.clone());
        senders.spawn(async move {
            loop {
                let Some(sent) = left.lock().unwrap().pop() else { return };
                insist(&http, port, &sent).await;
            }
        });
    }
    for kill in 1..=KILLS {
        while left.lock().unwrap().len() > total - total * kill / (KILLS + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Dropping the process sends SIGKILL.
        drop(gateway.take());
        gateway = Some(Process::live_with(BINARY, &world, port, &VARIABLES));
    }
    senders.join_all().await;

    let inbox = SqliteStore::open(&world.store_path()).unwrap().inbox();
    let began = Instant::now();
    while inbox.count(EventStatus::Waiting).await.unwrap() > 0 {
        assert!(began.elapsed() < Duration::from_secs(150), "the queue does not empty");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let applied = inbox.count(EventStatus::Applied).await.unwrap();
    let dead = inbox.count(EventStatus::Dead).await.unwrap();
    assert_eq!(applied + dead, EVENTS as u64, "every event was acknowledged");
    assert_eq!(dead, 0, "and nothing that Twilio did lasts");

    let found = users(&world).await;
    for user in 0..USERS {
        let last = events.iter().filter(|event| event.user == user).max_by(|a, b| a.order.cmp(&b.order)).unwrap();
        let found = found.get(&format!("person{user}"));
        if last.order.1 {
            assert!(found.is_none_or(|found| found["deactivated"] == true), "{last:?}\n{found:?}");
        } else {
            let found = found.unwrap();
            assert_eq!(found["deactivated"], false, "{last:?}\n{found:?}");
            assert_eq!(
                (&found["full_name"], &found["roles"]),
                (&json!(last.full_name), &json!(last.roles)),
                "{last:?}"
            );
        }
    }
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_is_acknowledged_while_twilio_does_not_answer() {
    let world = world().await;
    world.fault(&json!({ "service": "flex-api", "kind": "delay", "delay_ms": 600_000, "times": 0 })).await;
    let port = free_port();
    let gateway = Process::live_with(BINARY, &world, port, &VARIABLES);
    let http = http_client(&[]).unwrap();
    for sent in events(&mut Dice(7), world.clock_rng().now().unix_timestamp() * 1000).iter().take(201) {
        assert!(deliver(&http, port, sent).await);
    }
    let inbox = SqliteStore::open(&world.store_path()).unwrap().inbox();
    assert_eq!(inbox.count(EventStatus::Waiting).await.unwrap(), 201);
    drop(gateway);
}
