//! Tests that a save costs the same with 20,000 other users as with none. The tests measure writes, not time.

use super::Other;
use crate::common::{send, sim};
use reqwest::Method;
use serde_json::{Value, json};

const PROVISIONED: u64 = 200;
const SEEDED: u64 = 20_000;

#[derive(Debug)]
struct Cost {
    transactions: u64,
    rows: u64,
    /// The number of bytes that the process wrote, to files and in its answers.
    #[cfg(target_os = "linux")]
    bytes: u64,
}

/// The cost of provisioning 200 users, with `seeded` users in the directory.
async fn cost_beside(seeded: u64) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let other = Other::start(folder.path()).await;
    if seeded > 0 {
        let seed = other.at_control(Method::POST, "users").json(&json!({ "count": seeded }));
        assert_eq!(other.control(seed).await, json!({ "created": seeded }));
    }
    let before = written(&other).await;
    for n in 0..PROVISIONED {
        assert_eq!(send(other.provision(&format!("new{n}"))).await.unwrap().status(), 201);
    }
    let after = written(&other).await;
    Cost {
        transactions: after.transactions - before.transactions,
        rows: after.rows - before.rows,
        #[cfg(target_os = "linux")]
        bytes: after.bytes - before.bytes,
    }
}

async fn written(other: &Other) -> Cost {
    let storage = other.control(other.at_control(Method::GET, "storage")).await;
    let count = |name: &str| storage["written"][name].as_u64().unwrap();
    Cost {
        transactions: count("transactions"),
        rows: count("rows"),
        #[cfg(target_os = "linux")]
        bytes: bytes_written(other.id()),
    }
}

#[cfg(target_os = "linux")]
fn bytes_written(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

#[tokio::test]
async fn provisioning_writes_as_much_beside_20_000_users_as_beside_none() {
    let alone = cost_beside(0).await;
    let crowded = cost_beside(SEEDED).await;
    for cost in [&alone, &crowded] {
        assert_eq!((cost.transactions, cost.rows), (PROVISIONED, PROVISIONED), "one row each, in one transaction");
    }
    #[cfg(target_os = "linux")]
    {
        // Allow twice as many bytes. The B-tree of the larger file is one level deeper, and perhaps only one of the two
        // measurements includes a checkpoint.
        assert!(crowded.bytes < 2 * alone.bytes, "{alone:?} {crowded:?}");
        assert!(crowded.bytes < PROVISIONED * 32 * 1024, "{crowded:?}");
    }
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sim = crate::common::sim_with(super::config(folder.path())).await;
    let user = sim.provision("ada", &["agent"]).await;
    let sid = user["flex_user_sid"].as_str().unwrap();
    sim.mint(sid).await;
    let deprovision = json!({ "flex_user_sid": sid });
    assert_eq!(sim.post(&sim.users("/Deprovision"), &deprovision).await.0, 204);
    let before = sim.get(&sim.at("/__sim/storage")).await.1;
    assert_eq!(before["written"], json!({ "transactions": 2, "rows": 2 }));
    sim.get(&sim.users(&format!("/{sid}"))).await;
    sim.get(&sim.users("?Username=ada")).await;
    // The user is already deactivated, so the second request changes nothing.
    sim.post(&sim.users("/Deprovision"), &deprovision).await;
    assert_eq!(sim.get(&sim.at("/__sim/storage")).await.1, before);
}

#[tokio::test]
async fn seeded_users_are_ordinary_users_in_pages_of_the_list() {
    let sim = sim().await;
    sim.control("users", json!({ "count": 1100, "prefix": "agent" })).await;
    sim.control("users", json!({ "count": 2, "prefix": "gone", "roles": ["admin"], "deactivated": true })).await;
    let list = sim.users("?PageSize=500").replace("/v4/", "/v1/");
    let (mut next, mut names, mut pages) = (Some(list), Vec::new(), 0);
    while let Some(url) = next {
        let (_, page) = sim.get(&url).await;
        names.extend(page["users"].as_array().unwrap().iter().map(|user| user["username"].clone()));
        next = page["meta"]["next_page_url"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!((pages, names.len()), (3, 1102));
    assert_eq!(
        (&names[0], &names[1099], &names[1101]),
        (&json!("agent000000"), &json!("agent001099"), &json!("gone000001"))
    );
    let (_, found) = sim.get(&sim.users("?Username=gone000001")).await;
    assert_eq!((&found["users"][0]["deactivated"], &found["users"][0]["roles"]), (&json!(true), &json!(["admin"])));
    let (_, found) = sim.get(&sim.users("?Username=agent000999")).await;
    let minted = sim.mint(found["users"][0]["flex_user_sid"].as_str().unwrap()).await;
    assert_eq!(minted["token_info"]["username"], "agent000999");
}

#[tokio::test]
async fn a_seed_makes_all_of_its_users_or_none() {
    let sim = sim().await;
    sim.control("users", json!({ "count": 1, "first": 5 })).await;
    for seed in [
        json!({ "count": 10 }),
        json!({ "count": 0 }),
        json!({ "count": 1_000_001 }),
        json!({ "count": 1, "roles": [""] }),
        json!({ "count": 1, "roles": [] }),
        json!({ "count": 1, "typo": 1 }),
        json!({}),
    ] {
        let (status, error) = sim.send(sim.http.post(sim.at("/__sim/users")).json(&seed)).await;
        assert_eq!(status, 400, "{seed} {error}");
        assert!(error["error"].is_string());
    }
    assert_eq!(super::everybody(&sim).await.len(), 1);
}

#[tokio::test]
async fn calls_are_counted_by_operation_until_the_journal_is_emptied() {
    let sim = sim().await;
    let user = sim.provision("ada", &["agent"]).await;
    sim.provision("bob", &["agent"]).await;
    sim.mint(user["flex_user_sid"].as_str().unwrap()).await;
    sim.get(&sim.users("?Username=ada")).await;
    sim.get(&sim.users("").replace("/v4/", "/v1/")).await;
    sim.get(&sim.at("/flex-api/made/up")).await;
    sim.get(&sim.at("/idp/jwks")).await;
    sim.send(sim.http.request(Method::OPTIONS, sim.at("/flex-api/v1/Configuration"))).await;
    let calls = || async { sim.get(&sim.at("/__sim/calls")).await.1 };
    assert_eq!(
        calls().await,
        json!({ "twilio": 6, "by_operation": { "find_user": 1, "identity_provider": 1, "list_users": 1, "mint_token": 1,
            "other": 1, "preflight": 1, "provision_user": 2 } })
    );
    sim.send(sim.http.delete(sim.at("/__sim/requests"))).await;
    assert_eq!(calls().await, json!({ "twilio": 0, "by_operation": {} }));
    let none: Value = sim.get(&sim.at("/__sim/storage")).await.1;
    assert_eq!(none, json!({ "written": null }), "nothing is written without a data directory");
}
