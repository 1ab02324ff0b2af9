//! Tests faults, the journal, credentials, reset, the data directory, TLS and the websocket.

use crate::common::{Sim, client, send, sim, sim_with};
use flexgate_simulator::*;
use serde_json::{Value, json};

async fn lookup(sim: &Sim) -> Result<reqwest::Response, reqwest::Error> {
    send(sim.http.get(sim.users("?Username=x")).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN))).await
}

#[tokio::test]
async fn a_status_fault_answers_as_told_and_as_often_as_told() {
    let sim = sim().await;
    sim
        .control("faults", json!({ "service": "flex-api", "kind": "status", "status": 429, "times": 2, "headers": { "Retry-After": "1" } }))
        .await;
    for _ in 0..2 {
        let answer = lookup(&sim).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"1".parse().unwrap()));
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], 20429);
    }
    assert_eq!(lookup(&sim).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_reset_performs_nothing_and_a_lost_response_everything() {
    let sim = sim().await;
    let body =
        json!({ "username": "ada", "email": "a@example.com", "full_name": "Ada", "roles": ["agent"], "worker": {} });
    let provision =
        || send(sim.http.post(sim.users("/Provision")).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN)).json(&body));
    let count = || async { sim.get(&sim.at("/__sim/users")).await.1["users"].as_array().unwrap().len() };
    for (kind, users) in [("reset", 0), ("lost_response", 1)] {
        sim.control(
            "faults",
            json!({ "service": "flex-api", "method": "POST", "path_contains": "Provision", "kind": kind }),
        )
        .await;
        let error = provision().await.unwrap_err();
        assert!(error.is_request() && error.status().is_none(), "{error:?}");
        assert_eq!(count().await, users, "{kind}");
    }
    let journal = sim.journal("?service=flex-api").await;
    assert_eq!((&journal[0]["fault"], &journal[0]["status"]), (&json!("reset"), &Value::Null));
    assert_eq!(journal[1]["fault"], "lost_response");
}

#[tokio::test]
async fn garbage_huge_and_delay_do_what_they_say() {
    let sim = sim().await;
    sim.control("faults", json!({ "service": "*", "kind": "garbage" })).await;
    assert!(lookup(&sim).await.unwrap().text().await.unwrap().starts_with("<!doctype"));
    sim.control("faults", json!({ "service": "flex-api", "kind": "huge" })).await;
    assert_eq!(lookup(&sim).await.unwrap().bytes().await.unwrap().len(), 10 * 1024 * 1024);
    sim.control("faults", json!({ "service": "flex-api", "kind": "delay", "delay_ms": 300, "times": "always" })).await;
    let started = tokio::time::Instant::now();
    assert_eq!(lookup(&sim).await.unwrap().status(), 200);
    assert_eq!(lookup(&sim).await.unwrap().status(), 200);
    assert!(started.elapsed().as_millis() >= 600);
    let (status, _) = sim.send(sim.http.delete(sim.at("/__sim/faults"))).await;
    assert_eq!(status, 204);
    sim.control("faults", json!({ "service": "idp", "kind": "status", "status": 503 })).await;
    assert_eq!(sim.send(sim.http.get(sim.at("/idp/jwks"))).await.0, 503);
}

#[tokio::test]
async fn the_control_api_refuses_what_it_does_not_know() {
    let sim = sim().await;
    for (path, body) in [
        ("faults", json!({ "service": "flex-api", "kind": "status", "status": 500, "typo": 1 })),
        ("faults", json!({ "service": "nonsense", "kind": "reset" })),
        ("faults", json!({ "service": "flex-api", "kind": "status" })),
        ("switches", json!({ "no_such_switch": true })),
        ("switches", json!({ "mint_status": "two hundred" })),
        ("credentials", json!({ "token": "x" })),
        ("clock", json!({})),
    ] {
        let (status, error) = sim.send(sim.http.post(sim.at(&format!("/__sim/{path}"))).json(&body)).await;
        assert_eq!(status, 400, "{path} {body}");
        assert!(error["error"].is_string());
    }
}

#[tokio::test]
async fn the_journal_holds_what_was_sent_and_nothing_of_the_control_api() {
    let sim = sim().await;
    sim.provision("ada", &["agent"]).await;
    lookup(&sim).await.unwrap();
    let all = sim.journal("").await;
    assert_eq!(all.len(), 2);
    assert!(all[0]["body"].as_str().unwrap().contains("\"username\":\"ada\""));
    assert_eq!(
        (&all[0]["service"], &all[0]["status"], &all[0]["method"]),
        (&json!("flex-api"), &json!(201), &json!("POST"))
    );
    assert!(all[0]["headers"]["authorization"].as_str().unwrap().starts_with("Basic "));
    let found = sim.journal("?path_contains=Users&service=flex-api").await;
    assert_eq!(found[1]["query"], json!({ "Username": "x" }));
    assert!(sim.journal("?service=iam").await.is_empty());
    sim.send(sim.http.delete(sim.at("/__sim/requests"))).await;
    assert!(sim.journal("").await.is_empty());
}

#[tokio::test]
async fn a_rotated_auth_token_kills_the_old_one_at_once() {
    let sim = sim().await;
    let rotated = sim.control("credentials", json!({})).await;
    let fresh = rotated["auth_token"].as_str().unwrap();
    assert_eq!(sim.simulator.account().auth_token, fresh);
    assert_eq!(lookup(&sim).await.unwrap().status(), 401);
    let request = sim.http.get(sim.users("?Username=x")).basic_auth(ACCOUNT_SID, Some(fresh));
    assert_eq!(sim.send(request).await.0, 200);
    sim.control("credentials", json!({ "auth_token": AUTH_TOKEN, "keep_old": true })).await;
    assert_eq!(lookup(&sim).await.unwrap().status(), 200);
    let key = sim.control("credentials", json!({ "api_key": { "restricted": true } })).await;
    let request = sim.http.get(sim.users("?Username=x"));
    let request = request.basic_auth(key["api_key_sid"].as_str().unwrap(), key["api_key_secret"].as_str());
    assert_eq!(sim.send(request).await.1["code"], 8001);
}

#[tokio::test]
async fn a_reset_forgets_everything() {
    let sim = sim().await;
    sim.provision("ada", &["agent"]).await;
    sim.control("credentials", json!({})).await;
    sim.control("switches", json!({ "mint_status": 200 })).await;
    sim.control("clock", json!({ "offset_seconds": 99 })).await;
    sim.control("reset", json!({})).await;
    assert!(sim.journal("").await.is_empty());
    assert_eq!(lookup(&sim).await.unwrap().status(), 200);
    assert_eq!(sim.get(&sim.at("/__sim/users")).await.1, json!({ "users": [] }));
    assert_eq!(sim.get(&sim.at("/__sim/switches")).await.1["mint_status"], 201);
    assert_eq!(sim.get(&sim.at("/__sim/clock")).await.1["offset_seconds"], 0);
}

#[tokio::test]
async fn every_preflight_is_answered_and_twilios_headers_are_on_every_answer() {
    let sim = sim().await;
    for path in ["/flex-api/v1/Configuration", "/event-bridge/v1/wschannels", "/idp/token"] {
        let answer = send(sim.http.request(reqwest::Method::OPTIONS, sim.at(path))).await.unwrap();
        assert!(answer.status().is_success());
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        let allowed = answer.headers()["access-control-allow-headers"].to_str().unwrap().to_owned();
        for header in
            ["content-type", "authorization", "x-flex-jwe", "x-flex-version", "apiversion", "clientversion", "if-match"]
        {
            assert!(allowed.contains(header), "{header}");
        }
    }
    let answer = lookup(&sim).await.unwrap();
    assert!(answer.headers()["twilio-request-id"].to_str().unwrap().starts_with("RQ"));
    assert!(answer.headers().contains_key("twilio-request-duration"));
}

#[tokio::test]
async fn a_data_directory_keeps_keys_users_and_tokens_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { data_dir: Some(directory.path().to_owned()), ..Config::default() };
    let before = sim_with(config.clone()).await;
    let user = before.provision("ada", &["agent"]).await;
    let token = before.mint(user["flex_user_sid"].as_str().unwrap()).await["access_token"].as_str().unwrap().to_owned();
    let jwks = before.get(&before.at("/idp/jwks")).await.1;
    let (ca, spki) = (before.simulator.ca_pem().to_owned(), before.simulator.spki_sha256_base64().to_owned());
    before.simulator.shutdown().await;

    let after = sim_with(config).await;
    assert_eq!(after.simulator.ca_pem(), ca);
    assert_eq!(std::fs::read_to_string(directory.path().join("ca.pem")).unwrap(), ca);
    assert_eq!(after.simulator.spki_sha256_base64(), spki);
    assert_eq!(after.get(&after.at("/idp/jwks")).await.1, jwks);
    assert_eq!(after.info(&token).await.1["username"], "ada");
}

#[tokio::test]
async fn tls_serves_twilios_names_by_sni() {
    let sim = sim_with(Config { tls: Some(([127, 0, 0, 1], 0).into()), ..Config::default() }).await;
    let address = sim.simulator.tls_addr().unwrap();
    let ca = reqwest::Certificate::from_pem(sim.simulator.ca_pem().as_bytes()).unwrap();
    for version in [reqwest::tls::Version::TLS_1_2, reqwest::tls::Version::TLS_1_3] {
        for host in ["flex-api.twilio.com", "flex-api.dublin.ie1.twilio.com"] {
            let http = client()
                .tls_certs_only([ca.clone()])
                .tls_version_min(version)
                .tls_version_max(version)
                .resolve(host, address)
                .build()
                .unwrap();
            // The URL names no port. The option `resolve` makes the client connect to the simulator's port.
            let url = format!("https://{host}/v4/Instances/{INSTANCE_SID}/Users?Username=x");
            let answer = send(http.get(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN))).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    }
    let entry = &sim.journal("?service=flex-api").await[0];
    assert_eq!((&entry["tls"], &entry["host"]), (&json!(true), &json!("flex-api.twilio.com")));
}
