//! Tests signals under failures: security events arrive twice and in any order, and the gateway is killed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flexgate::base::outbound::{Deadline, HttpClient, http_client, send};
use flexgate::domain::{FlexUserSid, Username};
use flexgate::store::{
    EndingKey, EventStatus, SeenUser, Session, SessionEndings as _, SessionKey, SessionOrigin, Sessions as _,
    SqliteStore, UsernameIndex as _,
};
use flexgate_test_support::{Process, World, free_port};
use http::{HeaderValue, Method};
use serde_json::json;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const AUDIENCE: &str = "https://flexgate.example/webhooks/signals";
const USERS: usize = 100;
const EVENTS: usize = 2_000;
const KILLS: usize = 5;
/// The number of concurrent senders.
const SENDERS: usize = 8;
/// The number of different times at which security events happen. Each user has a session that began before the first
/// time, one that began after the last time, and one in each interval between two successive times.
const TIMES: usize = 8;
/// The seconds between two times.
const APART: i64 = 10;

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

fn username(user: usize) -> Username {
    format!("person{user}@example.com").parse().unwrap()
}

fn sid(user: usize) -> FlexUserSid {
    format!("FU{user:032x}").parse().unwrap()
}

fn session(user: usize, number: usize, base: OffsetDateTime) -> Session {
    let at = base + time::Duration::seconds(APART * i64::try_from(number).unwrap() - APART / 2);
    Session {
        key: SessionKey::of(&format!("{user}:{number}")),
        profile: "default".parse().unwrap(),
        flex_user_sid: sid(user),
        sealed: "v1.1.sealed".into(),
        version: 0,
        created_at: at,
        used_at: at,
        ends_at: at + time::Duration::hours(12),
        seat: None,
        origin: SessionOrigin { username: Some(username(user).as_str().to_owned()), ..SessionOrigin::default() },
    }
}

/// Delivers the token until the gateway acknowledges it, as transmitters do.
async fn insist(http: &HttpClient, port: u16, token: &str) {
    for _ in 0..400 {
        let url = format!("http://127.0.0.1:{port}/webhooks/signals").parse().unwrap();
        let mut request = reqwest::Request::new(Method::POST, url);
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/secevent+jwt"));
        *request.body_mut() = Some(token.to_owned().into());
        if let Ok(answer) = send(http, request, Deadline::after(Duration::from_secs(5)), 1 << 16).await {
            assert!(answer.status == 202 || answer.status.is_server_error(), "{}", answer.status);
            if answer.status == 202 {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("never acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_signals_end_what_their_times_say_through_kills() {
    let world = World::start().await;
    let base = world.clock_rng().now() - time::Duration::minutes(10);
    let base = base.replace_nanosecond(0).unwrap();
    let store = SqliteStore::open(&world.store_path()).unwrap();
    for user in 0..USERS {
        let username = username(user);
        let seen = SeenUser { key: username.key(), username, flex_user_sid: sid(user), active: true };
        store.put_seen(&[seen], base).await.unwrap();
        for number in 0..=TIMES {
            store.insert(session(user, number, base)).await.unwrap();
        }
    }
    let mut dice = Dice(0x5eed_1234_abcd_0002);
    let mut latest = [None; USERS];
    let mut tokens = Vec::new();
    for number in 0..EVENTS {
        let user = number % USERS;
        // Some users have events only at early times. Their sessions that began after their last event must survive.
        let at = dice.below(2 + user % (TIMES - 1));
        latest[user] = latest[user].max(Some(at));
        let iat = base.unix_timestamp() + APART * i64::try_from(at).unwrap();
        let claims = json!({
            "header": { "typ": "secevent+jwt" }, "key": "ec", "aud": AUDIENCE, "sub": null, "exp": null, "iat": iat,
            "jti": format!("signal-{number}"), "sub_id": { "format": "email", "email": username(user).as_str() },
            "events": { "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} },
        });
        tokens.push(world.token(&claims).await);
    }
    let mut deliveries: Vec<String> = tokens.iter().chain(&tokens).cloned().collect();
    for last in (1..deliveries.len()).rev() {
        deliveries.swap(last, dice.below(last + 1));
    }

    let port = free_port();
    let http = http_client(&[]).unwrap();
    let source = json!({ "signals": { "kind": "ssf", "transmitter": world.simulator.issuer(), "audience": AUDIENCE } });
    let source = source.to_string();
    let variables = [("FLEXGATE_WEBHOOKS", source.as_str()), ("FLEXGATE_LOG", "error")];
    let mut gateway = Some(Process::live_with(BINARY, &world, port, &variables));
    let total = deliveries.len();
    let left = Arc::new(Mutex::new(deliveries));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (left, http) = (left.clone(), http.clone());
        senders.spawn(async move {
            loop {
                let Some(token) = left.lock().unwrap().pop() else { return };
                insist(&http, port, &token).await;
            }
        });
    }
    for kill in 1..=KILLS {
        while left.lock().unwrap().len() > total - total * kill / (KILLS + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Dropping the process sends SIGKILL.
        drop(gateway.take());
        gateway = Some(Process::live_with(BINARY, &world, port, &variables));
    }
    senders.join_all().await;

    let inbox = store.inbox();
    let began = Instant::now();
    while inbox.count(EventStatus::Waiting).await.unwrap() > 0 {
        assert!(began.elapsed() < Duration::from_secs(150), "the queue does not empty");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(inbox.count(EventStatus::Dead).await.unwrap(), 0);
    assert_eq!(inbox.count(EventStatus::Applied).await.unwrap(), EVENTS as u64, "each signal is applied, and once");
    for (user, latest) in latest.into_iter().enumerate() {
        let latest = latest.unwrap();
        let until = base + time::Duration::seconds(APART * i64::try_from(latest).unwrap());
        for key in [EndingKey::FlexUser(sid(user)), EndingKey::Username(username(user).key())] {
            assert_eq!(store.ended_until(&[key]).await.unwrap().0, Some(until), "user {user}");
        }
        for number in 0..=TIMES {
            let key = SessionKey::of(&format!("{user}:{number}"));
            let lasts = store.get(&key).await.unwrap().is_some();
            assert_eq!(lasts, number > latest, "user {user}, session {number}, latest event {latest}");
        }
    }
    drop(gateway);
}
