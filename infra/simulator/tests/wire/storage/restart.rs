//! A restart keeps users, teams, sessions and revoked tokens; `state.json` is migrated once.

use super::{config, everybody, restarted};
use crate::common::{NONCE, VERIFIER, World, parameter, world_with};
use flexgate_simulator::*;
use serde_json::{Value, json};

const BEFORE: &str = include_str!("../fixtures/state.json");

async fn form(world: &World, url: &str, form: &[(&str, &str)]) -> Value {
    world.send(world.http.post(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN)).form(form)).await.1
}

async fn delete(world: &World, url: &str) -> u16 {
    world.send(world.http.delete(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN))).await.0.as_u16()
}

fn teams(world: &World, rest: &str) -> String {
    world.at(&format!("/flex-api/v1/Instances/{INSTANCE_SID}/Teams{rest}"))
}

async fn names(world: &World, url: &str, list: &str, member: &str) -> Vec<String> {
    let (_, answer) = world.get(url).await;
    answer[list].as_array().unwrap().iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn users_keep_every_change_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = world_with(config(folder.path())).await;
    let body = json!({ "username": "ada", "email": "ada@example.com", "full_name": "Ada", "roles": ["agent"],
        "worker": { "attributes": { "level.int": 3 } } });
    let ada = world.post(&world.users("/Provision"), &body).await.1["flex_user_sid"].as_str().unwrap().to_owned();
    let bob = world.provision("bob", &["supervisor"]).await["flex_user_sid"].clone();
    let update = world.at(&format!("/flex-api/v2/Instances/{INSTANCE_SID}/Users/{ada}"));
    form(&world, &update, &[("Email", "new@example.com"), ("Locale", "de-DE")]).await;
    world.post(&world.users("/Deprovision"), &json!({ "flex_user_sid": bob })).await;
    let token = world.mint(&ada).await["access_token"].clone();
    let killed = world.mint(&ada).await["access_token"].clone();
    world.sim("tokens/revoke", json!({ "token": killed })).await;
    let before = everybody(&world).await;

    let world = restarted(world, folder.path()).await;
    assert_eq!(everybody(&world).await, before);
    assert_eq!(world.info(token.as_str().unwrap()).await.0, 201);
    assert_eq!(world.info(killed.as_str().unwrap()).await.0, 401);
    // A provision after the restart updates the user in place and adds no second row.
    world.provision("ada", &["admin"]).await;
    let world = restarted(world, folder.path()).await;
    let after = everybody(&world).await;
    assert_eq!((after.len(), &after[0]["roles"], &after[1]), (2, &json!(["admin"]), &before[1]));
}

#[tokio::test]
async fn teams_keep_members_and_owners_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = world_with(config(folder.path())).await;
    let mut people = Vec::new();
    for name in ["ada", "bob", "cid"] {
        people.push(world.provision(name, &["agent"]).await["flex_user_sid"].as_str().unwrap().to_owned());
    }
    let mut sids = Vec::new();
    for name in ["Blue", "Red", "Green"] {
        let team = form(&world, &teams(&world, ""), &[("FriendlyName", name)]).await;
        sids.push(team["flex_team_sid"].as_str().unwrap().to_owned());
    }
    let [blue, red, green] = [0, 1, 2].map(|n| format!("/{}", sids[n]));
    for (team, part, person) in
        [(&blue, "Members", 2), (&blue, "Members", 0), (&blue, "Members", 1), (&red, "Owners", 0)]
    {
        form(&world, &teams(&world, &format!("{team}/{part}")), &[("FlexUserSid", &people[person])]).await;
    }
    form(&world, &teams(&world, &format!("{green}/Members")), &[("FlexUserSid", &people[0])]).await;
    assert_eq!(delete(&world, &teams(&world, &format!("{blue}/Members/{}", people[2]))).await, 204);
    assert_eq!(delete(&world, &teams(&world, &green)).await, 204);
    assert_eq!(delete(&world, &teams(&world, &green)).await, 404);

    let world = restarted(world, folder.path()).await;
    assert_eq!(names(&world, &teams(&world, ""), "teams", "friendly_name").await, ["Blue", "Red"]);
    let members = teams(&world, &format!("{blue}/Members"));
    assert_eq!(names(&world, &members, "members", "flex_user_sid").await, [&*people[0], &*people[1]]);
    let owners = teams(&world, &format!("{red}/Owners"));
    assert_eq!(names(&world, &owners, "owners", "flex_user_sid").await, [&*people[0]]);
    let ada = world.provision("ada", &["admin"]).await;
    assert_eq!(ada["teams"], json!({ "team_member": sids[0], "team_owner": sids[1] }));
    // A team created after another was removed doesn't inherit the removed team's members.
    let team = form(&world, &teams(&world, ""), &[("FriendlyName", "White")]).await;
    let members = teams(&world, &format!("/{}/Members", team["flex_team_sid"].as_str().unwrap()));
    assert!(names(&world, &members, "members", "flex_user_sid").await.is_empty());
}

#[tokio::test]
async fn sso_sessions_outlive_a_restart_and_a_spent_refresh_token_stays_spent() {
    let folder = tempfile::tempdir().unwrap();
    let world = world_with(config(folder.path())).await;
    let end = world.sign_in(&[("username", "ada")]).await;
    let (_, tokens) = world.exchange(&parameter(&end, "code").unwrap(), VERIFIER, NONCE).await;
    let first = tokens["refresh_token"].as_str().unwrap().to_owned();

    let world = restarted(world, folder.path()).await;
    let (status, tokens) = world.refresh(&first).await;
    assert_eq!(status, 200, "{tokens}");
    let world = restarted(world, folder.path()).await;
    assert_eq!(world.refresh(&first).await.0, 400);
    assert_eq!(world.refresh(tokens["refresh_token"].as_str().unwrap()).await.0, 200);
}

#[tokio::test]
async fn a_reset_outlives_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let world = world_with(config(folder.path())).await;
    world.sim("users", json!({ "count": 50 })).await;
    world.sim("reset", json!({})).await;
    world.provision("ada", &["agent"]).await;
    let world = restarted(world, folder.path()).await;
    let users = everybody(&world).await;
    assert_eq!((users.len(), &users[0]["username"]), (1, &json!("ada")));
}

#[tokio::test]
async fn state_json_of_the_version_before_is_moved_into_the_database_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    std::fs::write(&file, BEFORE).unwrap();
    let mut world = world_with(config(folder.path())).await;
    for start in ["the first", "the second"] {
        assert!(!file.exists(), "{start}");
        let users = everybody(&world).await;
        assert_eq!(users.len(), 2, "{start}");
        assert_eq!(users[0]["worker"]["attributes"]["skills"], json!(["a", "b"]));
        assert_eq!((&users[0]["locale"], &users[1]["deactivated"]), (&json!("de-DE"), &json!(true)));
        let members = teams(&world, "/QO00000000000000000000000000000001/Members");
        let order = ["FU00000000000000000000000000000002", "FU00000000000000000000000000000001"];
        assert_eq!(names(&world, &members, "members", "flex_user_sid").await, order);
        world = restarted(world, folder.path()).await;
    }
    assert_eq!(world.refresh("a-refresh-token").await.0, 200);
    world.simulator.shutdown().await;

    // As if a kill had come between the migration and the removal: the file is back, and must not be read again.
    std::fs::write(&file, BEFORE).unwrap();
    let world = world_with(config(folder.path())).await;
    assert!(!file.exists());
    assert_eq!(world.refresh("a-refresh-token").await.0, 400, "it was spent in the database");
}
