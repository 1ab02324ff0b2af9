//! Tests `TaskRouter`'s workers and activities, as a server uses them.

use crate::common::{Sim, send, sim};
use flexgate_simulator::*;
use serde_json::{Value, json};

fn workspace(sim: &Sim, rest: &str) -> String {
    sim.at(&format!("/taskrouter/v1/Workspaces/{WORKSPACE_SID}/{rest}"))
}

async fn worker(sim: &Sim, name: &str, attributes: Value) -> String {
    let body = json!({ "username": name, "email": "user@example.com", "full_name": "Some User", "roles": ["agent"],
        "worker": { "attributes": attributes } });
    let (_, user) = sim.post(&sim.users("/Provision"), &body).await;
    user["worker"]["worker_sid"].as_str().unwrap().to_owned()
}

async fn change(sim: &Sim, sid: &str, form: &[(&str, &str)], tag: Option<&str>) -> (u16, Value, String) {
    let mut request =
        sim.http.post(workspace(sim, &format!("Workers/{sid}"))).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN));
    if let Some(tag) = tag {
        request = request.header("if-match", tag);
    }
    let response = send(request.form(form)).await.unwrap();
    let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
    (response.status().as_u16(), response.json().await.unwrap(), tag)
}

fn attributes(worker: &Value) -> Value {
    serde_json::from_str(worker["attributes"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn attributes_are_replaced_as_a_whole_and_the_activity_is_set() {
    let sim = sim().await;
    let sid = worker(&sim, "ada", json!({ "old": "x" })).await;
    let (_, activities) = sim.get(&workspace(&sim, "Activities")).await;
    let available = activities["activities"].as_array().unwrap().iter().find(|one| one["available"] == true).unwrap();
    let skills = json!({ "routing": { "skills": ["billing"], "levels": { "billing": 3 } }, "team_sid": "QO1", "roles": ["admin"] });
    let form = [
        ("Attributes", &*skills.to_string()),
        ("ActivitySid", available["sid"].as_str().unwrap()),
        ("RejectPendingReservations", "true"),
    ];
    let (status, changed, _) = change(&sim, &sid, &form, None).await;
    assert_eq!((status, &changed["activity_name"], &changed["available"]), (200, &json!("Available"), &json!(true)));
    let now = attributes(&changed);
    assert_eq!((&now["routing"], &now["roles"]), (&skills["routing"], &json!(["agent"])), "{now}");
    assert!(now.get("old").is_none() && now.get("team_sid").is_none(), "{now}");
    let (status, shown) = sim.get(&workspace(&sim, &format!("Workers/{sid}"))).await;
    assert_eq!(
        (status.as_u16(), &shown["attributes"], &shown["version"]),
        (200, &changed["attributes"], &changed["version"])
    );
    for form in
        [("Attributes", "[]"), ("Attributes", "{"), ("ActivitySid", "WA1"), ("RejectPendingReservations", "maybe")]
    {
        assert_eq!(change(&sim, &sid, &[form], None).await.0, 400, "{form:?}");
    }
    assert_eq!(change(&sim, "WK1", &[("Attributes", "{}")], None).await.0, 404);
}

#[tokio::test]
async fn a_change_for_another_version_is_refused() {
    let sim = sim().await;
    let sid = worker(&sim, "ada", json!({})).await;
    let url = workspace(&sim, &format!("Workers/{sid}"));
    let response = send(sim.http.get(url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN))).await.unwrap();
    let first = response.headers()["etag"].to_str().unwrap().to_owned();
    let (status, _, second) = change(&sim, &sid, &[("Attributes", r#"{"a":1}"#)], Some(&first)).await;
    assert!(status == 200 && second != first, "{first} {second}");
    let (status, refused, _) = change(&sim, &sid, &[("Attributes", r#"{"a":2}"#)], Some(&first)).await;
    assert_eq!((status, &refused["status"]), (412, &json!(412)));
    assert_eq!(change(&sim, &sid, &[("Attributes", r#"{"a":3}"#)], Some(&second)).await.0, 200);
}

#[tokio::test]
async fn an_expression_selects_workers_and_a_deprovisioned_user_has_none() {
    let sim = sim().await;
    let ada = worker(&sim, "ada", json!({ "skills.stringarray": "billing,sales", "level.int": 3 })).await;
    let bob = worker(&sim, "bob", json!({ "skills.stringarray": "sales", "level.int": 1 })).await;
    let gone = sim.provision("cid", &["agent"]).await;
    sim.post(&sim.users("/Deprovision"), &json!({ "flex_user_sid": gone["flex_user_sid"] })).await;
    let list = async |expression: &str| {
        let url =
            reqwest::Url::parse_with_params(&workspace(&sim, "Workers"), [("TargetWorkersExpression", expression)]);
        let (status, answer) = sim.get(url.unwrap().as_str()).await;
        let workers = answer["workers"].as_array().cloned().unwrap_or_default();
        let sids: Vec<_> = workers.iter().map(|one| one["sid"].as_str().unwrap().to_owned()).collect();
        (status.as_u16(), sids)
    };
    assert_eq!(list("").await, (200, vec![ada.clone(), bob.clone()]));
    assert_eq!(list("skills HAS 'billing' AND level > 2").await, (200, vec![ada.clone()]));
    assert_eq!(list("full_name == \"Some User\" AND NOT level > 2").await, (200, vec![bob]));
    assert_eq!(list("skills HAS").await.0, 400);
    let request = sim.http.get(workspace(&sim, "Workers")).basic_auth(ACCOUNT_SID, Some("wrong"));
    assert_eq!(sim.send(request).await.0, 401);
}
