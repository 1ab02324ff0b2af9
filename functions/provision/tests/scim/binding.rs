//! Tests that the `externalId` binds a SCIM client's user to an identity (R31 and M29 of the attack register).

use flexgate::domain::Identity;
use serde_json::{Value, json};

use super::common::{Refused as _, Scim, scim, scim_with};

const OKTA: &str = "https://example.okta.com/oauth2/default";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";

async fn bound_to(issuer: &Value) -> Scim {
    let mut issuer = issuer.clone();
    (issuer["audiences"], issuer["scim_external_id"]) = (json!(["flexgate"]), json!(true));
    let other = json!({"issuer": "https://partner.example", "audiences": ["flexgate"]});
    scim_with(&[("FLEXGATE_ISSUERS", &json!([other, issuer]).to_string())]).await
}

async fn okta() -> Scim {
    bound_to(&json!({"preset": "okta", "issuer": OKTA})).await
}

impl Scim {
    /// Returns the SID of the Flex user who is bound to this identity.
    async fn user_of(&self, issuer: &str, subject: &str) -> Option<String> {
        let identity = Identity { issuer: issuer.into(), subject: subject.into() };
        let user = self.platform().bindings().user_of(&identity).await.unwrap();
        user.map(|sid| sid.as_str().to_owned())
    }

    async fn created(&self, user_name: &str, external_id: &str) -> String {
        let user = person(user_name, external_id);
        self.send("POST", "/Users", user).await.is(201)["id"].as_str().unwrap().to_owned()
    }
}

fn person(user_name: &str, external_id: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": user_name, "externalId": external_id,
        "displayName": "Ada Lovelace", "emails": [{"value": "ada@example.com", "primary": true}],
    })
}

#[tokio::test]
async fn r31_who_is_provisioned_is_bound_at_once() {
    let scim = okta().await;
    let ada = scim.created("ada", "00u1").await;
    assert_eq!(scim.user_of(OKTA, "00u1").await, Some(ada.clone()));
    let path = format!("/Users/{ada}");
    // Deactivation removes the binding, and activation adds it again.
    scim.patch(&path, json!([{"op": "replace", "value": {"active": false}}])).await.is(200);
    assert_eq!(scim.user_of(OKTA, "00u1").await, None);
    scim.patch(&path, json!([{"op": "replace", "value": {"active": true}}])).await.is(200);
    assert_eq!(scim.user_of(OKTA, "00u1").await, Some(ada.clone()));
    scim.delete(&path).await.is(204);
    assert_eq!(scim.user_of(OKTA, "00u1").await, None);
    // A new user with the same username and another `externalId` is another person.
    let again = scim.created("ada", "00u2").await;
    assert_eq!((scim.user_of(OKTA, "00u1").await, scim.user_of(OKTA, "00u2").await), (None, Some(again)));
    // A user who is created as inactive gets no binding.
    let mut grace = person("grace", "00u3");
    grace["active"] = json!(false);
    scim.send("POST", "/Users", grace).await.is(201);
    assert_eq!(scim.user_of(OKTA, "00u3").await, None);
}

#[tokio::test]
async fn r31_who_was_provisioned_before_is_bound_by_any_write() {
    let scim = okta().await;
    let ada = scim.created("ada", "00u1").await;
    let path = format!("/Users/{ada}");
    for write in ["put", "patch"] {
        scim.platform().bindings().unbind(&ada.parse().unwrap()).await.unwrap();
        if write == "put" {
            scim.send("PUT", &path, person("ada", "00u1")).await.is(200);
        } else {
            scim.patch(&path, json!([{"op": "replace", "value": {"displayName": "Ada Lovelace"}}])).await.is(200);
        }
        assert_eq!(scim.user_of(OKTA, "00u1").await, Some(ada.clone()), "{write}");
    }
}

#[tokio::test]
async fn m29_an_external_id_takes_over_nobody() {
    let scim = okta().await;
    let ada = scim.created("ada", "00u1").await;
    // The `externalId` belongs to another user.
    scim.send("POST", "/Users", person("eve", "00u1")).await.refused(409, "uniqueness");
    assert_eq!(scim.world.twilio_user("eve").await, None);
    let grace = scim.created("grace", "00u2").await;
    scim.send("PUT", &format!("/Users/{grace}"), person("grace", "00u1")).await.refused(409, "uniqueness");
    assert_eq!(scim.user_of(OKTA, "00u1").await, Some(ada.clone()));
    assert_eq!(scim.user_of(OKTA, "00u2").await, Some(grace));
    // A bound user cannot get a different `externalId`.
    let mut moved = person("ada", "00u9");
    moved["displayName"] = json!("Eve");
    scim.send("PUT", &format!("/Users/{ada}"), moved.clone()).await.refused(409, "uniqueness");
    assert_eq!(scim.world.twilio_user("ada").await.unwrap()["full_name"], "Ada Lovelace");
    assert_eq!((scim.user_of(OKTA, "00u9").await, scim.user_of(OKTA, "00u1").await), (None, Some(ada.clone())));
    // `active: false` deactivates the user, although Flexgate refuses the rest of the request.
    moved["active"] = json!(false);
    scim.send("PUT", &format!("/Users/{ada}"), moved).await;
    assert_eq!(scim.world.twilio_user_of(&ada).await.unwrap()["deactivated"], true);
}

#[tokio::test]
async fn r31_entras_external_id_is_the_object_id() {
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let scim = bound_to(&json!({"preset": "entra", "issuer": issuer})).await;
    scim.send("POST", "/Users", person("ada", "ada.lovelace")).await.refused(400, "invalidValue");
    assert_eq!(scim.world.twilio_user("ada").await, None);
    let oid = "99999999-AAAA-3333-4444-555555555555";
    let ada = scim.created("ada", oid).await;
    assert_eq!(scim.user_of(&issuer, &format!("{TENANT}:{}", oid.to_lowercase())).await, Some(ada));
}

#[tokio::test]
async fn r31_without_the_setting_nothing_is_bound() {
    let scim = scim().await;
    scim.created("ada", "00u1").await;
    assert_eq!(scim.user_of(&scim.world.simulator.issuer(), "00u1").await, None);
    // Without the setting `scim_external_id`, the `externalId` can have any value, and can change.
    let grace = scim.created("grace", "x").await;
    scim.send("PUT", &format!("/Users/{grace}"), person("grace", "y")).await.is(200);
}
