//! Counts the requests that each mint sends to Twilio and to the store, and tests that the cache of users is safe.

use flexgate::base::clock_rng::Clock as _;
use flexgate::domain::EventId;
use flexgate::domain::ledger::{Person, PersonId, Said, Source, Statement};
use flexgate::store::Written;
use std::time::Duration as StdDuration;

use flexgate::base::outbound::Deadline;
use flexgate_test_support::Reply;
use serde_json::{Value, json};
use time::Duration;

use crate::gate::{Gate, Minted as _};

/// Starts a minting function, mints once for ada, and clears the simulator's list of received requests.
async fn warm(variables: &[(&str, &str)]) -> (Gate, String) {
    let gate = Gate::with(variables).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    gate.world.forget_calls().await;
    (gate, ada)
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the numbers are what this test is read for")]
async fn a_warm_mint_is_one_call_of_twilio() {
    let gate = Gate::with(&[("FLEXGATE_JUST_IN_TIME", "create-and-sync")]).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let mut counts = Vec::new();
    let steps = [("first ever", 0), ("warm", 0), ("warm", 59), ("after a minute", 2), ("warm", 0)];
    for (step, later) in steps {
        gate.world.clock.advance(Duration::seconds(later));
        gate.world.forget_calls().await;
        gate.mint_as("ada").await.assert_minted(&ada);
        let calls = gate.world.calls("flex-api").await;
        println!("upstream calls of a mint, {step}: {} {calls:?}", calls.len());
        counts.push(calls.len());
    }
    assert_eq!(counts, [3, 1, 1, 2, 1]);
    assert_eq!(gate.secret_fetches(), 1);
}

#[tokio::test]
async fn a_mint_after_prewarming_fetches_neither_keys_nor_the_credential() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let token = gate.token_of("ada", json!({})).await;
    gate.world.forget_calls().await;
    gate.prewarm().await;
    assert_eq!((gate.secret_fetches(), gate.world.calls("idp").await.len()), (1, 2), "the metadata and the keys");
    gate.world.forget_calls().await;
    gate.mint(&token, json!({})).await.assert_minted(&ada);
    assert_eq!((gate.secret_fetches(), gate.world.calls("idp").await.len()), (1, 0));
}

#[tokio::test]
async fn first_requests_share_every_fetch() {
    let gate = Gate::with(&[("FLEXGATE_MINTS_PER_MINUTE", "100")]).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let token = gate.token_of("ada", json!({})).await;
    gate.world.forget_calls().await;
    gate.world.fault(&json!({"service": "*", "kind": "delay", "delay_ms": 30, "times": 4})).await;
    let (gate, token) = (&gate, &token);
    let answers = together(50, async |_| gate.mint(token, json!({})).await).await;
    for answer in &answers {
        answer.assert_minted(&ada);
    }
    let calls = gate.world.calls("flex-api").await;
    let tokens = calls.iter().filter(|line| line.ends_with("/Tokens")).count();
    assert_eq!((tokens, calls.len() - tokens), (50, 2), "one search and one look");
    assert_eq!(gate.world.calls("idp").await.len(), 2, "the metadata and the keys");
    assert_eq!(gate.secret_fetches(), 1);
}

#[tokio::test]
async fn first_requests_of_a_newcomer_make_one_user() {
    let gate = Gate::with(&[("FLEXGATE_JUST_IN_TIME", "create"), ("FLEXGATE_MINTS_PER_MINUTE", "100")]).await;
    let token = gate.token_of("ada", json!({})).await;
    gate.world.forget_calls().await;
    let (gate, token) = (&gate, &token);
    let answers = together(20, async |_| gate.mint(token, json!({})).await).await;
    let ada = gate.world.twilio_user("ada").await.unwrap();
    for answer in &answers {
        answer.assert_minted(ada["flex_user_sid"].as_str().unwrap());
    }
    let calls = gate.world.calls("flex-api").await;
    assert_eq!(calls.iter().filter(|line| line.ends_with("/Provision")).count(), 1);
}

/// Runs `count` requests concurrently in one task.
async fn together(count: usize, ask: impl AsyncFn(usize) -> Reply) -> Vec<Reply> {
    let mut asked: Vec<_> = (0..count).map(|n| Box::pin(ask(n))).collect();
    let mut answers: Vec<_> = (0..count).map(|_| None).collect();
    std::future::poll_fn(move |context| {
        let mut done = true;
        for (future, answer) in asked.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *answer = Some(value),
                    std::task::Poll::Pending => done = false,
                }
            }
        }
        if done {
            std::task::Poll::Ready(answers.iter_mut().map(|one| one.take().unwrap()).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn m18_who_is_deprovisioned_in_another_process_is_refused_at_once() {
    let (gate, ada) = warm(&[]).await;
    // Flexgate refuses even if Twilio would mint.
    gate.world.switch(&json!({"mint_deactivated": "mint"})).await;
    let soon = Deadline::after(StdDuration::from_secs(5));
    gate.elsewhere().deprovision(&ada.parse().unwrap(), soon).await.unwrap();
    gate.world.forget_calls().await;
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");
    assert!(gate.world.calls("flex-api").await.iter().all(|line| !line.ends_with("/Tokens")));
}

#[tokio::test]
async fn m18_who_is_deactivated_in_the_console_is_refused_within_a_minute() {
    let (gate, ada) = warm(&[]).await;
    gate.world.deprovision_at_twilio(&ada).await;
    // Twilio refuses, and Flexgate answers `mint_refused`.
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");

    let (gate, ada) = warm(&[]).await;
    gate.world.deprovision_at_twilio(&ada).await;
    gate.world.switch(&json!({"mint_deactivated": "mint"})).await;
    gate.world.clock.advance(Duration::seconds(61));
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn r92_who_is_inactive_in_the_ledger_is_refused_though_active_in_flex() {
    let (gate, _ada) = warm(&[]).await;
    let active = Some(Said::access(gate.world.clock.now(), &EventId::from(1), false));
    let mut person = Person::new(PersonId::of([1; 16]), "ada".parse().unwrap());
    person.statements.insert(Source::Operator, Statement { active, ..Statement::default() });
    assert_eq!(gate.platform.people().add(&person, None).await.unwrap(), Written::Yes(1));
    gate.world.forget_calls().await;
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");
    assert_eq!(gate.world.calls("flex-api").await, [""; 0], "Twilio is not asked");
}

#[tokio::test]
async fn a_role_given_within_the_minute_is_no_alarm() {
    let (gate, ada) = warm(&[]).await;
    gate.world.at_twilio("ada", &["agent", "supervisor"]).await;
    gate.world.forget_calls().await;
    let answer = gate.mint_as("ada").await;
    answer.assert_minted(&ada);
    assert_eq!(answer.body["token_info"]["roles"], json!(["agent", "supervisor"]));
    assert_eq!(gate.world.calls("flex-api").await.len(), 2);
    // Since Flexgate cached ada, she has got another role at Twilio. Flexgate refuses the mint if the policy forbids
    // this role (`admin`), or if the caller requests only other roles.
    gate.world.at_twilio("ada", &["agent", "admin"]).await;
    gate.mint_as("ada").await.assert_problem(403, "mint_refused");
    let (gate, _) = warm(&[]).await;
    gate.world.at_twilio("ada", &["agent", "supervisor"]).await;
    let token = gate.token_of("ada", json!({})).await;
    let answer = gate.mint(&token, json!({"roles": ["agent"]})).await;
    answer.assert_problem(403, "mint_refused");
    assert_eq!(answer.alarms(), [Value::Null; 0]);
}

#[tokio::test]
async fn m18_a_sync_from_memory_brings_nobody_back() {
    let (gate, ada) = warm(&[("FLEXGATE_JUST_IN_TIME", "create-and-sync")]).await;
    gate.world.deprovision_at_twilio(&ada).await;
    let renamed = gate.token_of("ada", json!({"name": "Ada King"})).await;
    gate.mint(&renamed, json!({})).await.assert_problem(403, "mint_refused");
    assert_eq!(gate.world.twilio_user("ada").await.unwrap()["deactivated"], true);
}

/// Mints for ada once, and waits until the cached user is too old to be used.
async fn returning(variables: &[(&str, &str)]) -> (Gate, String) {
    let (gate, ada) = warm(variables).await;
    gate.world.clock.advance(Duration::seconds(61));
    (gate, ada)
}

#[tokio::test]
async fn who_returns_waits_for_one_round_trip() {
    let (gate, ada) = returning(&[("FLEXGATE_REQUEST_SECONDS", "2")]).await;
    // Twilio never answers the request that reads the user. So the mint request reaches Twilio only if Flexgate does
    // not wait for that answer.
    let fault = json!({"service": "flex-api", "path_contains": ada, "kind": "delay", "delay_ms": 600_000});
    gate.world.fault(&fault).await;
    gate.mint_as("ada").await.assert_problem(504, "timeout");
    let calls = gate.world.calls("flex-api").await;
    assert_eq!(calls.iter().filter(|line| line.ends_with("/Tokens")).count(), 1, "{calls:?}");
}

#[tokio::test]
async fn m18_a_token_minted_while_flexgate_reads_the_user_is_discarded_if_the_user_may_have_none() {
    for (roles, deactivated) in [(&["agent"], true), (&["admin"], false)] {
        let (gate, ada) = returning(&[]).await;
        gate.world.switch(&json!({"mint_deactivated": "mint"})).await;
        gate.world.at_twilio("ada", roles).await;
        if deactivated {
            gate.world.deprovision_at_twilio(&ada).await;
        }
        let answer = gate.mint_as("ada").await;
        answer.assert_problem(403, "mint_refused");
        assert!(answer.body.get("access_token").is_none());
        let reason = answer.reason();
        assert!(reason.contains("a token minted meanwhile was discarded"), "{reason}");
    }
}

#[tokio::test]
async fn a_token_minted_before_the_user_follows_the_claims_is_discarded() {
    let (gate, ada) = returning(&[("FLEXGATE_JUST_IN_TIME", "create-and-sync")]).await;
    let token = gate.token_of("ada", json!({"roles": ["supervisor"]})).await;
    let answer = gate.mint(&token, json!({})).await;
    answer.assert_minted(&ada);
    assert_eq!(answer.body["token_info"]["roles"], json!(["agent", "supervisor"]));
    let reason = answer.reason();
    assert!(reason.contains("updated from the claims, a token minted meanwhile was discarded"), "{reason}");
    let calls = gate.world.calls("flex-api").await;
    assert_eq!(calls.iter().filter(|line| line.ends_with("/Tokens")).count(), 2, "{calls:?}");
}
