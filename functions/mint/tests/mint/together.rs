//! Tests many concurrent mints (M26 of the attack register).

use std::sync::Arc;

use flexgate_simulator::ACCOUNT_SID;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::gate::Gate;

const MINTS: usize = 5_000;
const PEOPLE: usize = 200;
const IN_FLIGHT: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn m26_of_five_thousand_mints_every_token_is_its_callers() {
    let gate = Gate::with(&[
        ("FLEXGATE_JUST_IN_TIME", "create"),
        ("FLEXGATE_MINTS_PER_MINUTE", "60000"),
        ("FLEXGATE_REQUEST_SECONDS", "60"),
    ])
    .await;
    let gate = Arc::new(gate);
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        let username = format!("person-{n}");
        // Half of them are newcomers.
        if n % 2 == 0 {
            gate.world.at_twilio(&username, &["agent"]).await;
        }
        people.push(Arc::new((gate.token_of(&username, json!({})).await, username)));
    }
    let turns = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut mints = JoinSet::new();
    for n in 0..MINTS {
        let (gate, person, turns) = (gate.clone(), people[n * 7 % PEOPLE].clone(), turns.clone());
        mints.spawn(async move {
            let _turn = turns.acquire_owned().await.unwrap();
            let (token, username) = &*person;
            let answer = gate.mint(token, json!({})).await;
            assert_eq!(answer.status, 201, "{:?}", answer.body);
            assert_eq!(answer.body["token_info"]["username"], *username);
            // Ask the simulated Twilio whose token this is.
            let access_token = answer.body["access_token"].as_str().unwrap();
            let validate = format!("/iam/v1/Accounts/{ACCOUNT_SID}/Tokens/validate");
            let said = gate.world.ask(Method::POST, &validate, &json!({ "token": access_token })).await;
            assert_eq!(said["valid"], true);
            (username.clone(), said["identity"].clone(), access_token.to_owned())
        });
    }
    let mut tokens = std::collections::BTreeSet::new();
    while let Some(minted) = mints.join_next().await {
        let (username, identity, token) = minted.unwrap();
        assert_eq!(identity, Value::from(username.replace('-', "_2D")));
        assert!(tokens.insert(token), "a token was given twice");
    }
    assert_eq!(tokens.len(), MINTS);
}
