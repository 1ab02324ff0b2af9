//! Tests teams: their fields, members and owners.

use crate::common::{Sim, sim};
use flexgate_simulator::*;
use reqwest::Method;
use serde_json::{Value, json};

fn teams(sim: &Sim, rest: &str) -> String {
    sim.at(&format!("/flex-api/v1/Instances/{INSTANCE_SID}/Teams{rest}"))
}

async fn call(sim: &Sim, method: Method, rest: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let request = sim.http.request(method, teams(sim, rest)).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN));
    let (status, body) = sim.send(if form.is_empty() { request } else { request.form(form) }).await;
    (status.as_u16(), body)
}

async fn made(sim: &Sim, name: &str) -> String {
    let (status, team) = call(sim, Method::POST, "", &[("FriendlyName", name)]).await;
    assert_eq!(status, 201, "{team}");
    team["team_sid"].as_str().unwrap().to_owned()
}

async fn user(sim: &Sim, name: &str) -> String {
    sim.provision(name, &["agent"]).await["flex_user_sid"].as_str().unwrap().to_owned()
}

async fn people(sim: &Sim, team: &str, part: &str) -> Vec<String> {
    let (status, list) = call(sim, Method::GET, &format!("/{team}/{part}"), &[]).await;
    assert_eq!(status, 200, "{list}");
    let people = list[part.to_lowercase()].as_array().unwrap().iter();
    people.map(|person| person["flex_user_sid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_team_has_the_documented_fields_and_is_updated_by_a_form() {
    let sim = sim().await;
    let parent = made(&sim, "Parent").await;
    let form = [("FriendlyName", "Blue"), ("Level", "2"), ("ParentTeamSid", &parent)];
    let (status, team) = call(&sim, Method::POST, "", &form).await;
    let sid = team["team_sid"].as_str().unwrap().to_owned();
    let fields = |team: &Value| {
        ["friendly_name", "level", "parent_team_sid", "member_count", "version"].map(|name| team[name].clone())
    };
    assert_eq!((status, fields(&team)), (201, [json!("Blue"), json!(2), json!(parent), json!(0), json!(0)]));
    assert!(sid.starts_with("QO") && team.get("flex_team_sid").is_none(), "{team}");
    let (status, team) = call(&sim, Method::POST, &format!("/{sid}"), &[("FriendlyName", "Green")]).await;
    assert_eq!((status, fields(&team)), (200, [json!("Green"), json!(2), json!(parent), json!(0), json!(1)]));
    assert_eq!(call(&sim, Method::GET, &format!("/{sid}"), &[]).await, (200, team));
    for form in
        [("Level", "4"), ("Level", "x"), ("FriendlyName", ""), ("ParentTeamSid", &*sid), ("ParentTeamSid", "QO1")]
    {
        assert_eq!(call(&sim, Method::POST, &format!("/{sid}"), &[form]).await.0, 400, "{form:?}");
    }
    assert_eq!(call(&sim, Method::POST, "", &[("Level", "1")]).await.0, 400, "a team needs a name");
    assert_eq!(call(&sim, Method::DELETE, &format!("/{sid}"), &[]).await.0, 204);
    for method in [Method::GET, Method::POST, Method::DELETE] {
        assert_eq!(call(&sim, method, &format!("/{sid}"), &[]).await.0, 404);
    }
}

#[tokio::test]
async fn a_user_is_a_member_of_one_team_and_of_the_default_team_without_another() {
    let sim = sim().await;
    let (ada, bob) = (user(&sim, "ada").await, user(&sim, "bob").await);
    let (blue, red) = (made(&sim, "Blue").await, made(&sim, "Red").await);
    assert_eq!(people(&sim, DEFAULT_TEAM_SID, "Members").await, [&*ada, &*bob]);
    for (team, expected) in [(&blue, 201), (&red, 201), (&red, 201)] {
        let path = format!("/{team}/Members");
        assert_eq!(call(&sim, Method::POST, &path, &[("flex_user_sid", &ada)]).await.0, expected);
    }
    assert_eq!(people(&sim, &blue, "Members").await, Vec::<String>::new());
    assert_eq!(people(&sim, &red, "Members").await, [&*ada]);
    assert_eq!(people(&sim, DEFAULT_TEAM_SID, "Members").await, [&*bob]);
    let shown = sim.provision("ada", &["agent"]).await;
    assert_eq!((&shown["flex_team_sid"], &shown["teams"]["team_member"]), (&json!(red), &json!(red)));
    assert_eq!(call(&sim, Method::GET, &format!("/{red}"), &[]).await.1["member_count"], 1);

    let member = format!("/{red}/Members/{ada}");
    assert_eq!(call(&sim, Method::DELETE, &member, &[]).await.0, 405, "Twilio cannot remove a member");
    let default = format!("/{DEFAULT_TEAM_SID}/Members");
    assert_eq!(call(&sim, Method::POST, &default, &[("flex_user_sid", &ada)]).await.0, 201);
    assert_eq!(people(&sim, &red, "Members").await, Vec::<String>::new());
    assert_eq!(people(&sim, DEFAULT_TEAM_SID, "Members").await, [&*ada, &*bob]);
    assert_eq!(sim.provision("ada", &["agent"]).await["flex_team_sid"], DEFAULT_TEAM_SID);
    for (path, user) in [("/QO1/Members", &*ada), (&*default, "FU1"), ("/QO1/Owners", &*ada)] {
        assert_eq!(call(&sim, Method::POST, path, &[("flex_user_sid", user)]).await.0, 404, "{path} {user}");
    }
}

#[tokio::test]
async fn the_members_of_a_deleted_team_are_in_the_default_team() {
    let sim = sim().await;
    let (ada, blue) = (user(&sim, "ada").await, made(&sim, "Blue").await);
    call(&sim, Method::POST, &format!("/{blue}/Members"), &[("flex_user_sid", &ada)]).await;
    call(&sim, Method::DELETE, &format!("/{blue}"), &[]).await;
    assert_eq!(people(&sim, DEFAULT_TEAM_SID, "Members").await, [&*ada]);
    let default = format!("/{DEFAULT_TEAM_SID}");
    for method in [Method::POST, Method::DELETE] {
        assert_eq!(call(&sim, method, &default, &[]).await.0, 400, "the default team stays");
    }
    let (_, list) = call(&sim, Method::GET, "", &[]).await;
    assert_eq!(
        (&list["teams"][0]["team_sid"], &list["teams"][0]["member_count"]),
        (&json!(DEFAULT_TEAM_SID), &json!(1))
    );
}

#[tokio::test]
async fn owners_are_added_and_removed_and_a_team_has_at_most_500() {
    let sim = sim().await;
    let (blue, red) = (made(&sim, "Blue").await, made(&sim, "Red").await);
    sim.control("users", json!({ "count": 501 })).await;
    let (_, users) = sim.get(&sim.users("?PageSize=1000").replace("/v4/", "/v1/")).await;
    let sids: Vec<&str> =
        users["users"].as_array().unwrap().iter().map(|user| user["flex_user_sid"].as_str().unwrap()).collect();
    let path = format!("/{blue}/Owners");
    for sid in &sids[..500] {
        assert_eq!(call(&sim, Method::POST, &path, &[("flex_user_sid", sid)]).await.0, 201);
    }
    assert_eq!(call(&sim, Method::POST, &path, &[("flex_user_sid", sids[500])]).await.0, 400);
    let other = format!("/{red}/Owners");
    assert_eq!(call(&sim, Method::POST, &other, &[("flex_user_sid", sids[0])]).await.0, 201, "of two teams");
    assert_eq!(call(&sim, Method::DELETE, &format!("{path}/{}", sids[0]), &[]).await.0, 204);
    assert_eq!(people(&sim, &blue, "Owners").await.len(), 499);
    assert_eq!(people(&sim, &red, "Owners").await, [sids[0]]);
}
