//! Tests that the state survives a restart, and that an old `state.json` is copied only once.

use super::{config, everybody, restarted};
use crate::common::{NONCE, Sim, VERIFIER, parameter, sim_with};
use flexgate_simulator::*;
use serde_json::{Value, json};

const BEFORE: &str = include_str!("../fixtures/state.json");

async fn form(sim: &Sim, url: &str, form: &[(&str, &str)]) -> Value {
    sim.send(sim.http.post(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN)).form(form)).await.1
}

async fn delete(sim: &Sim, url: &str) -> u16 {
    sim.send(sim.http.delete(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN))).await.0.as_u16()
}

fn teams(sim: &Sim, rest: &str) -> String {
    sim.at(&format!("/flex-api/v1/Instances/{INSTANCE_SID}/Teams{rest}"))
}

async fn names(sim: &Sim, url: &str, list: &str, member: &str) -> Vec<String> {
    let (_, answer) = sim.get(url).await;
    answer[list].as_array().unwrap().iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn users_keep_every_change_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let sim = sim_with(config(folder.path())).await;
    let body = json!({ "username": "ada", "email": "ada@example.com", "full_name": "Ada", "roles": ["agent"],
        "worker": { "attributes": { "level.int": 3 } } });
    let ada = sim.post(&sim.users("/Provision"), &body).await.1["flex_user_sid"].as_str().unwrap().to_owned();
    let bob = sim.provision("bob", &["supervisor"]).await["flex_user_sid"].clone();
    let update = sim.at(&format!("/flex-api/v2/Instances/{INSTANCE_SID}/Users/{ada}"));
    form(&sim, &update, &[("Email", "new@example.com"), ("Locale", "de-DE")]).await;
    sim.post(&sim.users("/Deprovision"), &json!({ "flex_user_sid": bob })).await;
    let token = sim.mint(&ada).await["access_token"].clone();
    let killed = sim.mint(&ada).await["access_token"].clone();
    sim.control("tokens/revoke", json!({ "token": killed })).await;
    let before = everybody(&sim).await;

    let sim = restarted(sim, folder.path()).await;
    assert_eq!(everybody(&sim).await, before);
    assert_eq!(sim.info(token.as_str().unwrap()).await.0, 201);
    assert_eq!(sim.info(killed.as_str().unwrap()).await.0, 401);
    // This request must update the existing user and not add a second row.
    sim.provision("ada", &["admin"]).await;
    let sim = restarted(sim, folder.path()).await;
    let after = everybody(&sim).await;
    assert_eq!((after.len(), &after[0]["roles"], &after[1]), (2, &json!(["admin"]), &before[1]));
}

#[tokio::test]
async fn teams_keep_members_and_owners_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let sim = sim_with(config(folder.path())).await;
    let mut people = Vec::new();
    for name in ["ada", "bob", "cid"] {
        people.push(sim.provision(name, &["agent"]).await["flex_user_sid"].as_str().unwrap().to_owned());
    }
    let mut sids = Vec::new();
    for name in ["Blue", "Red", "Green"] {
        let team = form(&sim, &teams(&sim, ""), &[("FriendlyName", name)]).await;
        sids.push(team["team_sid"].as_str().unwrap().to_owned());
    }
    let [blue, red, green] = [0, 1, 2].map(|n| format!("/{}", sids[n]));
    for (team, part, person) in
        [(&blue, "Members", 2), (&blue, "Members", 0), (&blue, "Members", 1), (&red, "Owners", 0)]
    {
        form(&sim, &teams(&sim, &format!("{team}/{part}")), &[("flex_user_sid", &people[person])]).await;
    }
    form(&sim, &teams(&sim, &format!("{green}/Members")), &[("flex_user_sid", &people[2])]).await;
    let change = [("Description", "The blue one"), ("Level", "2")];
    assert_eq!(form(&sim, &teams(&sim, &blue), &change).await["version"], 1);
    assert_eq!(delete(&sim, &teams(&sim, &green)).await, 204);
    assert_eq!(delete(&sim, &teams(&sim, &green)).await, 404);

    let sim = restarted(sim, folder.path()).await;
    assert_eq!(names(&sim, &teams(&sim, ""), "teams", "friendly_name").await, ["default", "Blue", "Red"]);
    let (_, team) = sim.get(&teams(&sim, &blue)).await;
    assert_eq!((&team["level"], &team["description"]), (&json!(2), &json!("The blue one")));
    let members = teams(&sim, &format!("{blue}/Members"));
    assert_eq!(names(&sim, &members, "members", "flex_user_sid").await, [&*people[0], &*people[1]]);
    let owners = teams(&sim, &format!("{red}/Owners"));
    assert_eq!(names(&sim, &owners, "owners", "flex_user_sid").await, [&*people[0]]);
    let ada = sim.provision("ada", &["admin"]).await;
    assert_eq!(ada["teams"], json!({ "team_member": sids[0], "team_owner": sids[1] }));
    // The new team does not inherit the removed team's members.
    let team = form(&sim, &teams(&sim, ""), &[("FriendlyName", "White")]).await;
    let members = teams(&sim, &format!("/{}/Members", team["team_sid"].as_str().unwrap()));
    assert!(names(&sim, &members, "members", "flex_user_sid").await.is_empty());
}

#[tokio::test]
async fn sso_sessions_outlive_a_restart_and_a_spent_refresh_token_stays_spent() {
    let folder = tempfile::tempdir().unwrap();
    let sim = sim_with(config(folder.path())).await;
    let end = sim.sign_in(&[("username", "ada")]).await;
    let (_, tokens) = sim.exchange(&parameter(&end, "code").unwrap(), VERIFIER, NONCE).await;
    let first = tokens["refresh_token"].as_str().unwrap().to_owned();

    let sim = restarted(sim, folder.path()).await;
    let (status, tokens) = sim.refresh(&first).await;
    assert_eq!(status, 200, "{tokens}");
    let sim = restarted(sim, folder.path()).await;
    assert_eq!(sim.refresh(&first).await.0, 400);
    assert_eq!(sim.refresh(tokens["refresh_token"].as_str().unwrap()).await.0, 200);
}

#[tokio::test]
async fn a_reset_outlives_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let sim = sim_with(config(folder.path())).await;
    sim.control("users", json!({ "count": 50 })).await;
    sim.control("reset", json!({})).await;
    sim.provision("ada", &["agent"]).await;
    let sim = restarted(sim, folder.path()).await;
    let users = everybody(&sim).await;
    assert_eq!((users.len(), &users[0]["username"]), (1, &json!("ada")));
}

#[tokio::test]
async fn state_json_of_the_version_before_is_moved_into_the_database_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    std::fs::write(&file, BEFORE).unwrap();
    let mut sim = sim_with(config(folder.path())).await;
    for start in ["the first", "the second"] {
        assert!(!file.exists(), "{start}");
        let users = everybody(&sim).await;
        assert_eq!(users.len(), 2, "{start}");
        assert_eq!(users[0]["worker"]["attributes"]["skills"], json!(["a", "b"]));
        assert_eq!((&users[0]["locale"], &users[1]["deactivated"]), (&json!("de-DE"), &json!(true)));
        let members = teams(&sim, "/QO00000000000000000000000000000001/Members");
        let order = ["FU00000000000000000000000000000002", "FU00000000000000000000000000000001"];
        assert_eq!(names(&sim, &members, "members", "flex_user_sid").await, order);
        sim = restarted(sim, folder.path()).await;
    }
    assert_eq!(sim.refresh("a-refresh-token").await.0, 200);
    sim.simulator.shutdown().await;

    // The old file exists again, as if the process had been killed before it could delete the file. The simulator must
    // not copy the contents again.
    std::fs::write(&file, BEFORE).unwrap();
    let sim = sim_with(config(folder.path())).await;
    assert!(!file.exists());
    assert_eq!(sim.refresh("a-refresh-token").await.0, 400, "it was spent in the database");
}
