//! Tests both forms of the Twilio credential, and its rotation (attack M21 of the attack register).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration as StdDuration;

use flexgate_simulator::{ACCOUNT_SID, API_KEY_SECRET, API_KEY_SID, RESTRICTED_KEY_SECRET, RESTRICTED_KEY_SID};
use flexgate_test_support::Reply;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::gate::{Gate, Minted as _};

fn document(auth_token: &str) -> Value {
    json!({"accountSid": ACCOUNT_SID, "authToken": auth_token})
}

/// Rotates the credential: Twilio now accepts only `auth_token`.
async fn rotate(gate: &Gate, auth_token: &str) {
    gate.world.ask(Method::POST, "/__sim/credentials", &json!({ "auth_token": auth_token })).await;
}

async fn with_ada() -> (Gate, String) {
    let gate = Gate::with(&[("FLEXGATE_MINTS_PER_MINUTE", "1000")]).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    (gate, ada)
}

#[tokio::test]
async fn m21_a_credential_that_moved_is_read_again() {
    let (gate, ada) = with_ada().await;
    rotate(&gate, "second").await;
    gate.world.write_secret("twilio", &document("second"));
    gate.mint_as("ada").await.assert_minted(&ada);
    assert_eq!(gate.secret_fetches(), 2);
    rotate(&gate, "third").await;
    gate.world.write_secret("twilio", &document("third"));
    gate.mint_as("ada").await.assert_minted(&ada);
    assert_eq!(gate.secret_fetches(), 3);
}

#[tokio::test]
async fn m21_the_pending_credential_serves_until_the_current_one_moves() {
    let (gate, ada) = with_ada().await;
    gate.world.write_secret("twilio.pending", &document("second"));
    rotate(&gate, "second").await;
    gate.mint_as("ada").await.assert_minted(&ada);
    // Flexgate now has the new credential, so mints cause neither rejected requests nor reads of the secret.
    gate.world.forget_calls().await;
    let fetches = gate.secret_fetches();
    for _ in 0..5 {
        gate.mint_as("ada").await.assert_minted(&ada);
    }
    assert_eq!((gate.world.calls("flex-api").await.len(), gate.secret_fetches()), (5, fetches));

    gate.world.write_secret("twilio", &document("second"));
    std::fs::remove_file(gate.world.secret_path("twilio.pending")).unwrap();
    for minutes in [0, 4, 6] {
        gate.world.clock.advance(Duration::minutes(minutes));
        let token = gate.token_of("ada", json!({"exp": 4_000_000_000_u64})).await;
        gate.mint(&token, json!({})).await.assert_minted(&ada);
    }
}

#[tokio::test]
async fn m21_a_second_rotation_close_behind_is_followed() {
    let (gate, ada) = with_ada().await;
    for auth_token in ["second", "third", "fourth"] {
        // Flexgate uses the pending secret, because Twilio no longer accepts the credential in the current secret.
        gate.world.write_secret("twilio.pending", &document(auth_token));
        rotate(&gate, auth_token).await;
        gate.mint_as("ada").await.assert_minted(&ada);
    }
    gate.world.write_secret("twilio", &document("fourth"));
    std::fs::remove_file(gate.world.secret_path("twilio.pending")).unwrap();
    rotate(&gate, "fifth").await;
    gate.world.write_secret("twilio", &document("fifth"));
    gate.mint_as("ada").await.assert_minted(&ada);
}

#[tokio::test]
async fn m21_without_a_good_credential_it_is_503_and_never_the_callers_401() {
    let (gate, ada) = with_ada().await;
    rotate(&gate, "second").await;
    gate.world.forget_calls().await;
    let fetches = gate.secret_fetches();
    for _ in 0..10 {
        gate.mint_as("ada").await.assert_problem(503, "unavailable");
    }
    assert_eq!(gate.world.calls("flex-api").await.len(), 10, "one call each");
    assert_eq!(gate.secret_fetches() - fetches, 3, "and one search for them all");

    gate.world.write_secret("twilio", &document("second"));
    gate.world.clock.advance(Duration::seconds(5));
    gate.mint_as("ada").await.assert_minted(&ada);
}

#[tokio::test]
async fn m21_a_pending_credential_that_is_not_good_yet_is_let_go() {
    let (gate, ada) = with_ada().await;
    gate.world.write_secret("twilio.pending", &document("not-yet"));
    // Twilio rejects the valid credential once. So Flexgate tries the pending credential, which is not valid yet.
    gate.world.fault(&json!({"service": "flex-api", "path_contains": "/Tokens", "kind": "status", "status": 401, "body": {"code": 20003}}))
        .await;
    for _ in 0..3 {
        gate.mint_as("ada").await.assert_minted(&ada);
    }
    // Once Twilio accepts the pending credential, Flexgate uses it.
    rotate(&gate, "not-yet").await;
    gate.world.clock.advance(Duration::seconds(5));
    gate.mint_as("ada").await.assert_minted(&ada);
}

#[tokio::test]
async fn m21_a_secret_that_cannot_be_read_meanwhile_is_no_401_either() {
    let (gate, ada) = with_ada().await;
    rotate(&gate, "second").await;
    std::fs::write(gate.world.secret_path("twilio"), "{\"accountSid\": \"AC").unwrap();
    gate.mint_as("ada").await.assert_problem(503, "unavailable");
    gate.world.write_secret("twilio.pending", &document("second"));
    gate.world.clock.advance(Duration::seconds(5));
    gate.mint_as("ada").await.assert_minted(&ada);
}

#[tokio::test]
async fn api_keys_are_credentials_too() {
    let key = |sid: &str, secret: &str| json!({"accountSid": ACCOUNT_SID, "apiKeySid": sid, "apiKeySecret": secret});
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.world.write_secret("twilio", &key(API_KEY_SID, API_KEY_SECRET));
    gate.mint_as("ada").await.assert_minted(&ada);

    let made = gate.world.ask(Method::POST, "/__sim/credentials", &json!({"api_key": {}})).await;
    let (sid, secret) = (made["api_key_sid"].as_str().unwrap(), made["api_key_secret"].as_str().unwrap());
    gate.world.write_secret("twilio", &key(sid, secret));
    gate.world.clock.advance(Duration::seconds(300));
    let token = gate.token_of("ada", json!({"exp": 4_000_000_000_u64})).await;
    gate.mint(&token, json!({})).await.assert_minted(&ada);

    gate.world.write_secret("twilio", &key(RESTRICTED_KEY_SID, RESTRICTED_KEY_SECRET));
    gate.world.clock.advance(Duration::seconds(300));
    let answer = gate.mint(&token, json!({})).await;
    assert_eq!((answer.status, &answer.body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
}

const MINTS: usize = 2_000;

/// The progress of many mints.
#[derive(Debug, Default)]
struct Progress {
    started: AtomicUsize,
    pending: Mutex<BTreeSet<usize>>,
}

impl Progress {
    fn start(&self) -> usize {
        let mut pending = self.pending.lock().unwrap();
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        pending.insert(number);
        number
    }

    fn end(&self, number: usize) {
        self.pending.lock().unwrap().remove(&number);
    }

    /// Waits until `more` further mints have started, and these and all earlier mints have ended. So a mint meets at
    /// most two steps of a rotation, however slow this machine is. Returns false once no mint is left to start.
    async fn pass(&self, more: usize) -> bool {
        let until = self.started.load(Ordering::SeqCst) + more;
        loop {
            let started = self.started.load(Ordering::SeqCst);
            if started >= MINTS {
                return false;
            }
            if started >= until && self.pending.lock().unwrap().first().is_none_or(|oldest| *oldest >= until) {
                return true;
            }
            tokio::time::sleep(StdDuration::from_millis(1)).await;
        }
    }
}

/// Mints 2,000 times for 50 people while `rotator` rotates the credential.
async fn mint_meanwhile(gate: &Arc<Gate>, rotator: impl AsyncFnOnce(&Progress)) -> Vec<Reply> {
    let mut people = Vec::new();
    for n in 0..50 {
        let sid = gate.world.at_twilio(&format!("person-{n}"), &["agent"]).await;
        let token = gate.token_of(&format!("person-{n}"), json!({"exp": 4_000_000_000_u64})).await;
        people.push(Arc::new((sid, token)));
    }
    let (turns, progress) = (Arc::new(Semaphore::new(50)), Arc::new(Progress::default()));
    let mut mints = JoinSet::new();
    for n in 0..MINTS {
        let (gate, person, turns) = (gate.clone(), people[n % people.len()].clone(), turns.clone());
        let progress = progress.clone();
        mints.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            let (sid, token) = &*person;
            let number = progress.start();
            let answer = gate.mint(token, json!({})).await;
            progress.end(number);
            assert!(answer.status != 201 || answer.body["token_info"]["flex_user_sid"] == **sid);
            answer
        });
    }
    tokio::join!(mints.join_all(), rotator(&progress)).0
}

async fn busy_gate() -> Arc<Gate> {
    Arc::new(Gate::with(&[("FLEXGATE_MINTS_PER_MINUTE", "60000"), ("FLEXGATE_REQUEST_SECONDS", "60")]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn m21_two_thousand_mints_survive_rotations_with_the_current_version_lagging() {
    let gate = busy_gate().await;
    let mut rotations = 0;
    let answers = mint_meanwhile(&gate, async |progress| {
        while progress.pass(60).await {
            rotations += 1;
            let next = document(&format!("rotated-{rotations}"));
            gate.world.write_secret("twilio.pending", &next);
            rotate(&gate, &format!("rotated-{rotations}")).await;
            progress.pass(120).await;
            gate.world.write_secret("twilio", &next);
            std::fs::remove_file(gate.world.secret_path("twilio.pending")).unwrap();
        }
    })
    .await;
    let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 201).map(|answer| &answer.body).collect();
    assert!(failed.is_empty(), "{} of {} after {rotations} rotations: {:?}", failed.len(), answers.len(), failed[0]);
    assert!(rotations >= 3, "{rotations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m21_without_a_pending_version_callers_see_201_and_503_and_nothing_else() {
    let gate = busy_gate().await;
    let answers = mint_meanwhile(&gate, async |progress| {
        let mut rotation = 0;
        while progress.pass(120).await {
            rotation += 1;
            let next = format!("rotated-{rotation}");
            rotate(&gate, &next).await;
            progress.pass(10).await;
            gate.world.write_secret("twilio", &document(&next));
            // After all credentials have failed, Flexgate waits 5 seconds before it reads the secret again. Skip this
            // wait.
            gate.world.clock.advance(Duration::seconds(5));
        }
    })
    .await;
    let minted = answers.iter().filter(|answer| answer.status == 201).count();
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        refused.assert_problem(503, "unavailable");
    }
    assert!((500..2_000).contains(&minted), "{minted}");
}
