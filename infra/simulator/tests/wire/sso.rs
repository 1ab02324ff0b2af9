//! Tests the browser's part of the sign-in, and the exchange and refresh of tokens.

use crate::common::{CALLBACK, NONCE, VERIFIER, b64url, parameter, plain_state, send, sim};
use flexgate_simulator::*;
use serde_json::json;

#[tokio::test]
async fn the_dance_ends_with_a_token_for_the_person_who_chose_herself() {
    let sim = sim().await;
    let end = sim.sign_in(&[("username", "ada")]).await;
    assert!(end.starts_with(CALLBACK), "{end}");
    assert_eq!(parameter(&end, "state").unwrap(), plain_state());
    let (status, tokens) = sim.exchange(&parameter(&end, "code").unwrap(), VERIFIER, NONCE).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["token_info"]["username"], "ada");
    assert_eq!(tokens["token_info"]["roles"], json!(["agent"]));
    let (status, info) = sim.info(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!((status.as_u16(), &info["username"]), (201, &json!("ada")));
}

#[tokio::test]
async fn reached_by_host_twilio_sends_the_browser_back_to_that_host() {
    let sim = sim().await;
    let url = sim.authorize_url(&plain_state()).replace("/services/v1", "/v1");
    let answer = send(sim.http.get(url).header("host", "services.twilio.com")).await.unwrap();
    let at_idp = answer.headers()["location"].to_str().unwrap();
    assert!(at_idp.starts_with(&sim.at("/idp/authorize")), "{at_idp}");
    assert_eq!(parameter(at_idp, "redirect_uri").unwrap(), "http://services.twilio.com/v1/Flex/SSO/Callback");
}

#[tokio::test]
async fn every_login_syncs_the_roles_from_the_claims() {
    let sim = sim().await;
    sim.sign_in(&[("username", "ada")]).await;
    let person = json!({ "username": "ada", "email": "ada@example.com", "name": "Ada King", "roles": ["supervisor"] });
    let (status, _) = sim.send(sim.http.post(sim.at("/idp/__dev/people")).json(&person)).await;
    assert_eq!(status, 200);
    sim.sign_in(&[("username", "ada@example.com")]).await;
    let (_, users) = sim.get(&sim.at("/__sim/users")).await;
    assert_eq!(users["users"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&users["users"][0]["roles"], &users["users"][0]["full_name"]),
        (&json!(["supervisor"]), &json!("Ada King"))
    );
}

#[tokio::test]
async fn a_code_works_once_and_a_wrong_verifier_or_nonce_burns_it() {
    let sim = sim().await;
    let code = |end: String| parameter(&end, "code").unwrap();
    let once = code(sim.sign_in(&[("username", "ada")]).await);
    assert_eq!(sim.exchange(&once, VERIFIER, NONCE).await.0, 200);
    assert_eq!(sim.exchange(&once, VERIFIER, NONCE).await.0, 400);

    let burnt = code(sim.sign_in(&[("username", "ada")]).await);
    let (status, error) = sim.exchange(&burnt, "another-verifier", NONCE).await;
    assert_eq!((status.as_u16(), &error["code"]), (400, &json!(70002)));
    assert_eq!(sim.exchange(&burnt, VERIFIER, NONCE).await.0, 400);

    let other = code(sim.sign_in(&[("username", "ada")]).await);
    assert_eq!(sim.exchange(&other, VERIFIER, "another-nonce").await.0, 400);

    let late = code(sim.sign_in(&[("username", "ada")]).await);
    sim.control("clock", json!({ "offset_seconds": 61 })).await;
    assert_eq!(sim.exchange(&late, VERIFIER, NONCE).await.0, 400);
}

#[tokio::test]
async fn the_exchange_takes_json_and_its_own_grant_names_only() {
    let sim = sim().await;
    let url = sim.at("/services/v1/Flex/OAuth/Tokens");
    let form = [("grant_type", "AuthorizationCode"), ("code", "x")];
    assert_eq!(sim.send(sim.http.post(&url).form(&form)).await.0, 415);
    let body = json!({ "grant_type": "authorization_code", "code": "x", "code_verifier": "v", "nonce": "n", "sso_profile_sid": SSO_PROFILE_SID });
    assert_eq!(sim.send(sim.http.post(&url).json(&body)).await.0, 400);
    let body = json!({ "grant_type": "RefreshToken", "refresh_token": "x", "sso_profile_sid": "JQ00000000000000000000000000000009" });
    let (status, error) = sim.send(sim.http.post(&url).json(&body)).await;
    assert_eq!((status.as_u16(), &error["code"]), (403, &json!(70251)));
}

#[tokio::test]
async fn an_untrusted_redirect_url_or_an_odd_state_stays_on_an_error_page() {
    let sim = sim().await;
    let untrusted = sim.authorize_url(&plain_state()).replace("default%2Fcallback", "evil");
    let answer = send(sim.http.get(untrusted)).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("70251"));

    for state in ["@@@".to_owned(), b64url(b"[]"), b64url(br#"{"connection_name":"x","redirect_url":"y"}"#)] {
        assert_eq!(send(sim.http.get(sim.authorize_url(&state))).await.unwrap().status(), 400, "{state}");
    }
    let spaced =
        b64url(format!(" {{ \"connection_name\": \"{CLIENT_ID}\",\n \"redirect_url\": \"{CALLBACK}\" }} ").as_bytes());
    assert_eq!(send(sim.http.get(sim.authorize_url(&spaced))).await.unwrap().status(), 302);

    let extra =
        b64url(json!({ "connection_name": CLIENT_ID, "redirect_url": CALLBACK, "x": 1 }).to_string().as_bytes());
    assert_eq!(send(sim.http.get(sim.authorize_url(&extra))).await.unwrap().status(), 302);
    sim.control("switches", json!({ "state_extra_member": "reject" })).await;
    assert_eq!(send(sim.http.get(sim.authorize_url(&extra))).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_person_who_declines_or_has_no_role_comes_back_denied() {
    let sim = sim().await;
    for decision in [("deny", "1"), ("username", "nobody")] {
        let end = sim.sign_in(&[decision]).await;
        assert_eq!(parameter(&end, "error").as_deref(), Some("access_denied"), "{end}");
        assert_eq!(parameter(&end, "state").unwrap(), plain_state());
        assert_eq!(parameter(&end, "code"), None);
    }
}

#[tokio::test]
async fn a_refresh_rotates_its_token_and_never_outlives_the_session() {
    let sim = sim().await;
    let end = sim.sign_in(&[("username", "grace")]).await;
    let (_, first) = sim.exchange(&parameter(&end, "code").unwrap(), VERIFIER, NONCE).await;
    let old = first["refresh_token"].as_str().unwrap();
    let (status, second) = sim.refresh(old).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!(sim.refresh(old).await.0, 400);

    sim.control("switches", json!({ "refresh_rotates": false, "sso_max_lifetime_seconds": 7200 })).await;
    let (_, kept) = sim.refresh(second["refresh_token"].as_str().unwrap()).await;
    sim.control("clock", json!({ "offset_seconds": 5400 })).await;
    let (_, near) = sim.refresh(kept["refresh_token"].as_str().unwrap()).await;
    sim.control("clock", json!({ "offset_seconds": 6000 })).await;
    let (_, nearer) = sim.refresh(kept["refresh_token"].as_str().unwrap()).await;
    assert_eq!(near["token_info"]["expiration"], nearer["token_info"]["expiration"]);
    sim.control("clock", json!({ "offset_seconds": 7201 })).await;
    assert_eq!(sim.refresh(kept["refresh_token"].as_str().unwrap()).await.0, 400);
}

#[tokio::test]
async fn a_deprovisioned_user_cannot_refresh() {
    let sim = sim().await;
    let end = sim.sign_in(&[("username", "ada")]).await;
    let (_, tokens) = sim.exchange(&parameter(&end, "code").unwrap(), VERIFIER, NONCE).await;
    let sid = tokens["token_info"]["flex_user_sid"].clone();
    sim.post(&sim.users("/Deprovision"), &json!({ "flex_user_sid": sid })).await;
    assert_eq!(sim.refresh(tokens["refresh_token"].as_str().unwrap()).await.0, 400);
    sim.simulator.switch(|switches| switches.sso_login_reactivates = SsoReactivation::Denied);
    let end = sim.sign_in(&[("username", "ada")]).await;
    assert_eq!(parameter(&end, "error").as_deref(), Some("access_denied"), "{end}");
    sim.simulator.switch(|switches| switches.sso_login_reactivates = SsoReactivation::Allowed);
    let end = sim.sign_in(&[("username", "ada")]).await;
    assert_eq!(sim.exchange(&parameter(&end, "code").unwrap(), VERIFIER, NONCE).await.0, 200);
}

#[tokio::test]
async fn the_configuration_names_the_profile_and_may_begin_with_a_retired_one() {
    let sim = sim().await;
    let url = sim.at(&format!(
        "/services/v1/Flex/Authentication/Config?AccountSid={ACCOUNT_SID}&FlexInstanceSid=&RuntimeDomain=&SSOProfileSid=&AppType=SinglePageApp"
    ));
    let (_, config) = sim.send(sim.http.get(&url)).await;
    assert_eq!(
        config,
        json!({ "config_list": [{ "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "connection_name": SSO_PROFILE_SID,
            "client_id": CLIENT_ID, "active": true, "app_type": "SinglePageApp" }] })
    );
    sim.control("switches", json!({ "config_inactive_first": true })).await;
    let (_, config) = sim.send(sim.http.get(&url)).await;
    assert_eq!(
        (&config["config_list"][0]["active"], &config["config_list"][1]["active"]),
        (&json!(false), &json!(true))
    );
    let (_, none) = sim.send(sim.http.get(sim.at("/services/v1/Flex/Authentication/Config?AccountSid=AC0"))).await;
    assert_eq!(none, json!({ "config_list": [] }));
}

#[tokio::test]
async fn an_exchange_can_lie_about_account_and_instance() {
    let sim = sim().await;
    sim.control("switches", json!({ "exchange_other_account": true, "exchange_other_instance": true })).await;
    let end = sim.sign_in(&[("username", "ada")]).await;
    let (_, tokens) = sim.exchange(&parameter(&end, "code").unwrap(), VERIFIER, NONCE).await;
    let (_, info) = sim.info(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(
        (&info["account_sid"], &info["flex_instance_sid"]),
        (&json!(OTHER_ACCOUNT_SID), &json!(OTHER_INSTANCE_SID))
    );
}
