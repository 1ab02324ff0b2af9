//! Tests mints that Twilio answers in an unusual way (attacks M18 to M22 of the attack register).

use serde_json::{Value, json};

use crate::gate::{Gate, Minted as _};

const DETAIL: &str = "There is no Flex user you may have a token for. Ask your administrator.";

#[tokio::test]
async fn m18_deactivated_and_unknown_are_refused_alike() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let bound = gate.world.at_twilio("grace", &["agent"]).await;
    gate.mint_as("grace").await.assert_minted(&bound);
    gate.world.deprovision_at_twilio(&ada).await;
    gate.world.deprovision_at_twilio(&bound).await;
    for found in [true, false] {
        gate.world.switch(&json!({"find_returns_deactivated": found, "mint_deactivated": "mint"})).await;
        gate.world.clock.advance(time::Duration::seconds(61));
        for username in ["ada", "grace", "unknown"] {
            let answer = gate.mint_as(username).await;
            answer.assert_problem(403, "mint_refused");
            assert_eq!(answer.body["detail"], DETAIL, "{username}");
        }
        let service = gate.token_of("service", json!({"scope": "flexgate.token.any"})).await;
        gate.mint(&service, json!({"username": "ada"})).await.assert_problem(403, "mint_refused");
    }
}

#[tokio::test]
async fn m18_what_twilio_leaves_out_is_asked_for() {
    let gate = Gate::start().await;
    gate.world.switch(&json!({"sparse_responses": true})).await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    let service = gate.token_of("service", json!({"scope": "flexgate.token.any"})).await;
    gate.mint(&service, json!({"username": "ada"})).await.assert_minted(&ada);
    gate.world.deprovision_at_twilio(&ada).await;
    gate.mint(&service, json!({"username": "ada"})).await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn r06_a_proxys_refusal_never_says_that_a_caller_has_no_flex_user() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    for (bound, path) in [(false, "Users"), (true, "Users"), (true, "Tokens")] {
        if bound {
            gate.world.no_faults().await;
            gate.mint_as("ada").await.assert_minted(&ada);
        }
        for refusal in [
            json!({ "status": 404, "body": "<html>canary</html>" }),
            json!({ "status": 403, "body": { "message": "Forbidden" } }),
            json!({ "status": 401, "body": "<html>canary</html>" }),
            json!({ "status": 302, "body": "", "headers": { "location": "https://portal.example/" } }),
        ] {
            gate.world.no_faults().await;
            gate.world.clock.advance(time::Duration::seconds(61));
            let mut fault =
                json!({ "service": "flex-api", "path_contains": path, "kind": "status", "times": "always" });
            fault.as_object_mut().unwrap().extend(refusal.as_object().unwrap().clone());
            gate.world.fault(&fault).await;
            let answer = gate.mint_as("ada").await;
            answer.assert_problem(503, "unavailable");
            assert!(!answer.text.contains("canary"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn m19_two_users_of_one_name_are_a_conflict_and_another_case_is_another_name() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    gate.world.switch(&json!({"find_returns_two": true})).await;
    gate.mint_as("ada").await.assert_problem(409, "user_ambiguous");
    gate.world.switch(&json!({"find_returns_two": false, "find_case_sensitive": false})).await;
    gate.mint_as("ADA").await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn m20_a_token_that_was_not_asked_for_is_discarded_and_alarms() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let service = gate.token_of("service", json!({"scope": "flexgate.token.any"})).await;
    for lie in ["mint_for_other_user", "mint_wider_roles"] {
        gate.world.switch(&json!({ lie: true })).await;
        for answer in [gate.mint_as("ada").await, gate.mint(&service, json!({"username": "ada"})).await] {
            answer.assert_problem(502, "upstream_invalid");
            let alarms = answer.alarms();
            assert_eq!(alarms.len(), 1, "{lie}");
            assert_eq!((&alarms[0]["alarm"], &alarms[0]["level"]), (&json!("wrong_token"), &json!("ERROR")));
        }
        gate.world.switch(&json!({ lie: false })).await;
    }
}

async fn mint_answers(gate: &Gate, sid: &str, changes: Value) {
    let expiration = flexgate::base::clock_rng::Clock::now(&*gate.world.clock) + time::Duration::minutes(4);
    let mut info = json!({
        "account_sid": flexgate_simulator::ACCOUNT_SID, "flex_instance_sid": flexgate_simulator::INSTANCE_SID,
        "flex_user_sid": sid, "username": "ada", "identity": "ada", "roles": ["agent"], "permissions": [],
        "expiration": expiration.format(&time::format_description::well_known::Rfc3339).unwrap(),
    });
    for (name, value) in changes.as_object().unwrap() {
        info[name] = value.clone();
    }
    gate.world.fault(&json!({
        "service": "flex-api", "path_contains": "/Tokens", "kind": "status", "status": 201,
        "headers": {"content-type": "application/json"}, "body": {"access_token": "canary-token", "token_info": info},
    }))
    .await;
}

#[tokio::test]
async fn m20_every_part_of_the_tokens_information_is_compared() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    mint_answers(&gate, &ada, json!({})).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    let (alarming, unusable) = (1, 0);
    let lies = [
        (json!({"account_sid": flexgate_simulator::OTHER_ACCOUNT_SID}), alarming),
        (json!({"flex_instance_sid": flexgate_simulator::OTHER_INSTANCE_SID}), alarming),
        (json!({"flex_user_sid": "FU00000000000000000000000000000bad"}), alarming),
        (json!({"username": "grace"}), alarming),
        (json!({"roles": ["agent", "supervisor"]}), alarming),
        (json!({"roles": ["agent", "wfo.full_access"]}), alarming),
        (json!({"expiration": "2020-01-01T00:00:00Z"}), alarming),
        (json!({"expiration": "2999-01-01T00:00:00Z"}), alarming),
        (json!({"account_sid": null}), unusable),
        (json!({"flex_user_sid": null}), unusable),
        (json!({"roles": null}), unusable),
        (json!({"expiration": "soon"}), unusable),
    ];
    for (lie, alarms) in lies {
        mint_answers(&gate, &ada, lie.clone()).await;
        let answer = gate.mint_as("ada").await;
        answer.assert_problem(502, "upstream_invalid");
        assert_eq!(answer.alarms().len(), alarms, "{lie}");
        assert!(!answer.body.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn m22_a_busy_twilio_is_asked_again_and_then_the_caller_is() {
    for status in [429, 503] {
        let gate = Gate::start().await;
        let ada = gate.world.at_twilio("ada", &["agent"]).await;
        gate.mint_as("ada").await.assert_minted(&ada);
        let busy = |times| {
            json!({"service": "flex-api", "path_contains": "/Tokens", "kind": "status", "status": status, "times": times,
                "headers": {"retry-after": "1"}, "body": {"code": 20429, "message": "canary", "status": status}})
        };
        gate.world.fault(&busy(1)).await;
        gate.world.forget_calls().await;
        gate.mint_as("ada").await.assert_minted(&ada);
        assert_eq!(gate.world.calls("flex-api").await.len(), 2);

        gate.world.fault(&busy(0)).await;
        gate.world.forget_calls().await;
        let answer = gate.mint_as("ada").await;
        answer.assert_problem(503, "unavailable");
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(gate.world.calls("flex-api").await.len(), 3);
        assert!(!answer.body.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn m22_a_wait_beyond_the_deadline_is_the_callers() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    gate.world
        .fault(&json!({"service": "flex-api", "kind": "status", "status": 429, "headers": {"retry-after": "30"}}))
        .await;
    gate.world.forget_calls().await;
    let answer = gate.mint_as("ada").await;
    answer.assert_problem(503, "unavailable");
    assert_eq!(answer.headers["retry-after"], "30");
    assert_eq!(gate.world.calls("flex-api").await.len(), 1);
}

#[tokio::test]
async fn whatever_else_twilio_does_is_never_the_callers_fault() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("ada").await.assert_minted(&ada);
    let faults = [
        (json!({"kind": "garbage"}), 502, "upstream_invalid"),
        (json!({"kind": "huge"}), 502, "upstream_invalid"),
        (
            json!({"kind": "status", "status": 400, "body": {"code": 45004, "message": "canary"}}),
            502,
            "upstream_invalid",
        ),
        (json!({"kind": "status", "status": 403, "body": {"code": 8001}}), 503, "unavailable"),
        (json!({"kind": "status", "status": 500, "times": 3}), 503, "unavailable"),
        (json!({"kind": "reset", "times": 3}), 503, "unavailable"),
    ];
    for (fault, status, code) in faults {
        let mut whole = json!({"service": "flex-api", "path_contains": "/Tokens"});
        whole.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        gate.world.fault(&whole).await;
        let answer = gate.mint_as("ada").await;
        assert_eq!(answer.body["code"], code, "{fault}");
        assert_eq!(answer.status, status, "{fault}");
        assert!(!answer.body.to_string().contains("canary"));
    }
    // If Twilio's answer to a mint is lost, Flexgate sends the request again.
    gate.world.fault(&json!({"service": "flex-api", "path_contains": "/Tokens", "kind": "lost_response"})).await;
    gate.mint_as("ada").await.assert_minted(&ada);
}
