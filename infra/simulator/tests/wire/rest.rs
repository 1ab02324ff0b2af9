//! Tests the REST API: documented answers, and other answers that Twilio might give.

use crate::common::sim;
use flexgate_simulator::*;
use serde_json::{Value, json};

#[tokio::test]
async fn the_three_calls_of_twilios_page_answer_in_the_documented_shapes() {
    let sim = sim().await;
    let user = sim.provision("user@example.com", &["agent"]).await;
    for member in [
        "account_sid",
        "instance_sid",
        "flex_user_sid",
        "flex_team_sid",
        "username",
        "email",
        "full_name",
        "roles",
        "locale",
        "deactivated",
        "deactivated_date",
        "created_date",
        "updated_date",
        "version",
        "worker",
        "teams",
    ] {
        assert!(user.get(member).is_some(), "{member} is missing: {user}");
    }
    assert!(user["worker"]["worker_sid"].as_str().unwrap().starts_with("WK"));
    assert_eq!(user["worker"]["workspace_sid"], WORKSPACE_SID);

    let (status, found) = sim.get(&sim.users("?Username=user%40example.com")).await;
    assert_eq!(status, 200);
    assert_eq!(found["users"][0]["flex_user_sid"], user["flex_user_sid"]);
    assert_eq!(
        found["meta"],
        json!({ "direct_token": true, "list_key": "users", "next_token": null, "page_size": 50, "previous_token": null })
    );
    let (status, none) = sim.get(&sim.users("?Username=unknown")).await;
    assert_eq!((status.as_u16(), &none["users"]), (200, &json!([])));

    let sid = user["flex_user_sid"].as_str().unwrap();
    let minted = sim.mint(sid).await;
    let token = minted["access_token"].as_str().unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!((parts.len(), parts[1]), (5, ""));
    assert_eq!(
        String::from_utf8(crate::common::unb64url(parts[0])).unwrap(),
        r#"{"zip":"DEF","kid":"SAS_S3-KMS_v1","cty":"twilio-fpa;v=1","enc":"A256GCM","alg":"dir"}"#
    );
    assert!((1600..2000).contains(&token.len()), "{}", token.len());
    assert_eq!(minted["token_info"]["identity"], "user_40example_2Ecom");
    assert_eq!(minted["token_info"]["roles"], json!(["agent"]));
    assert_ne!(sim.mint(sid).await["access_token"], minted["access_token"]);

    let (status, info) = sim.info(token).await;
    assert_eq!(status, 201, "{info}");
    assert_eq!(info["flex_user_sid"], sid);
    let (status, valid) =
        sim.post(&sim.at(&format!("/iam/v1/Accounts/{ACCOUNT_SID}/Tokens/validate")), &json!({ "token": token })).await;
    assert_eq!((status.as_u16(), &valid["valid"]), (200, &json!(true)));
}

#[tokio::test]
async fn provisioning_twice_updates_and_never_makes_a_second_user() {
    let sim = sim().await;
    let first = sim.provision("ada", &["agent"]).await;
    let second = sim.provision("ada", &["supervisor"]).await;
    assert_eq!(first["flex_user_sid"], second["flex_user_sid"]);
    assert_eq!(second["roles"], json!(["supervisor"]));
    assert_eq!(second["version"], 1);
}

#[tokio::test]
async fn a_bad_provision_says_which_field() {
    let sim = sim().await;
    let good = json!({ "username": "u", "email": "u@example.com", "full_name": "U", "roles": ["agent"], "worker": {} });
    let cases = [
        ("full_name", Value::Null, 45050),
        ("email", Value::Null, 45050),
        ("roles", Value::Null, 45050),
        ("username", Value::Null, 45004),
        ("worker", Value::Null, 45004),
        ("username", json!("x".repeat(257)), 45004),
        ("roles", json!([]), 45004),
        ("roles", json!(["king"]), 45004),
        ("email", json!("nobody"), 45004),
    ];
    for (member, value, code) in cases {
        let mut body = good.clone();
        if value.is_null() {
            body.as_object_mut().unwrap().remove(member);
        } else {
            body[member] = value.clone();
        }
        let (status, error) = sim.post(&sim.users("/Provision"), &body).await;
        assert_eq!((status.as_u16(), &error["code"]), (400, &json!(code)), "{member}={value}: {error}");
    }
}

#[tokio::test]
async fn deprovisioning_deactivates_kills_tokens_and_takes_the_worker() {
    let sim = sim().await;
    let user = sim.provision("ada", &["agent"]).await;
    let sid = user["flex_user_sid"].as_str().unwrap();
    let token = sim.mint(sid).await["access_token"].as_str().unwrap().to_owned();
    let (status, body) = sim.post(&sim.users("/Deprovision"), &json!({ "flex_user_sid": sid })).await;
    assert_eq!((status.as_u16(), body), (204, json!("")));
    let (_, gone) = sim.get(&sim.users(&format!("/{sid}"))).await;
    assert_eq!((&gone["deactivated"], &gone["worker_sid"]), (&json!(true), &Value::Null));
    assert_eq!(sim.info(&token).await.0, 401);
    sim.control("switches", json!({ "tokens_die_at_deprovision": false })).await;
    assert_eq!(sim.info(&token).await.0, 201);

    sim.control("switches", json!({ "provision_reactivates": "new_sid" })).await;
    let again = sim.provision("ada", &["agent"]).await;
    assert_ne!(again["flex_user_sid"], user["flex_user_sid"]);
    assert_eq!(again["deactivated"], false);
}

#[tokio::test]
async fn the_list_pages_by_an_opaque_token_and_keeps_the_deactivated() {
    let sim = sim().await;
    for number in 0..5 {
        sim.provision(&format!("user-{number}"), &["agent"]).await;
    }
    let mut url = sim.at(&format!("/flex-api/v1/Instances/{INSTANCE_SID}/Users?PageSize=2"));
    let mut names = Vec::new();
    loop {
        let (status, page) = sim.get(&url).await;
        assert_eq!(status, 200);
        names
            .extend(page["users"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()));
        match page["meta"]["next_page_url"].as_str() {
            Some(next) => next.clone_into(&mut url),
            None => break,
        }
    }
    assert_eq!(names, ["user-0", "user-1", "user-2", "user-3", "user-4"]);
}

#[tokio::test]
async fn credentials_are_told_apart_as_twilio_does() {
    let sim = sim().await;
    let cases = [
        (ACCOUNT_SID, AUTH_TOKEN, 200, 0),
        (API_KEY_SID, API_KEY_SECRET, 200, 0),
        (ACCOUNT_SID, "wrong", 401, 20003),
        (API_KEY_SID, "wrong", 401, 20003),
        (RESTRICTED_KEY_SID, RESTRICTED_KEY_SECRET, 403, 8001),
        (FOREIGN_KEY_SID, FOREIGN_KEY_SECRET, 401, 70051),
        (OTHER_ACCOUNT_SID, AUTH_TOKEN, 401, 70051),
    ];
    for (user, password, status, code) in cases {
        let request = sim.http.get(sim.users("?Username=x")).basic_auth(user, Some(password));
        let (answered, body) = sim.send(request).await;
        assert_eq!((answered.as_u16(), body["code"].as_u64().unwrap_or(0)), (status, code), "{user}");
    }
}

#[tokio::test]
async fn a_token_authenticates_with_the_stray_bracket_of_the_sdk() {
    use base64::Engine as _;
    let sim = sim().await;
    let user = sim.provision("ada", &["agent"]).await;
    let token = sim.mint(user["flex_user_sid"].as_str().unwrap()).await["access_token"].as_str().unwrap().to_owned();
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("token:{token}"));
    let request = sim
        .http
        .get(sim.at("/flex-api/v1/Configuration?UiVersion=undefined"))
        .header("authorization", format!("Basic {encoded})"));
    let (status, configuration) = sim.send(request).await;
    assert_eq!((status.as_u16(), &configuration["flex_instance_sid"]), (200, &json!(INSTANCE_SID)));
    let request = sim.http.get(sim.at("/flex-api/v1/Configuration")).basic_auth("token", Some("a.b.c.d.e"));
    assert_eq!(sim.send(request).await.0, 401);
}

#[tokio::test]
async fn a_token_expires_on_the_simulators_clock_and_can_be_revoked() {
    let sim = sim().await;
    let user = sim.provision("ada", &["agent"]).await;
    let sid = user["flex_user_sid"].as_str().unwrap();
    let token = sim.mint(sid).await["access_token"].as_str().unwrap().to_owned();
    sim.control("clock", json!({ "offset_seconds": 3601 })).await;
    let (status, error) = sim.info(&token).await;
    assert_eq!((status.as_u16(), &error["code"]), (401, &json!(20104)));
    sim.control("clock", json!({ "offset_seconds": 0 })).await;
    assert_eq!(sim.info(&token).await.0, 201);
    sim.control("tokens/revoke", json!({ "token": token })).await;
    assert_eq!(sim.info(&token).await.0, 401);
}

#[tokio::test]
async fn a_ttl_over_the_bound_is_refused_or_clamped() {
    let sim = sim().await;
    let user = sim.provision("ada", &["agent"]).await;
    let url = sim.users(&format!("/{}/Tokens", user["flex_user_sid"].as_str().unwrap()));
    for ttl in [json!(86_401), json!(0), json!(-1), json!("3600"), json!(1.5)] {
        assert_eq!(sim.post(&url, &json!({ "ttl": ttl })).await.0, 400, "{ttl}");
    }
    sim.control("switches", json!({ "over_max_ttl": "clamp", "mint_status": 200 })).await;
    assert_eq!(sim.post(&url, &json!({ "ttl": 90_000 })).await.0, 200);
}

#[tokio::test]
async fn a_short_ttl_is_minted_refused_or_raised_and_a_long_one_may_be_minted() {
    let sim = sim().await;
    let user = sim.provision("ada", &["agent"]).await;
    let url = sim.users(&format!("/{}/Tokens", user["flex_user_sid"].as_str().unwrap()));
    let ends = async |ttl: u64| {
        let (status, minted) = sim.post(&url, &json!({ "ttl": ttl })).await;
        (status.as_u16(), minted["token_info"]["expiration"].as_str().map(str::to_owned))
    };
    assert_eq!(ends(1).await.0, 201);
    sim.control("switches", json!({ "short_ttl": "reject" })).await;
    assert_eq!((ends(59).await.0, ends(60).await.0), (400, 201));
    sim.control("switches", json!({ "short_ttl": "raise", "over_max_ttl": "mint" })).await;
    let order = [ends(1).await.1, ends(70).await.1, ends(86_400).await.1, ends(172_800).await.1];
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}");
    assert_ne!(order[2], order[3], "not clamped");
}

#[tokio::test]
async fn a_long_username_is_kept_or_cut_or_refused() {
    let sim = sim().await;
    let named = async |name: &str| {
        let user = sim.provision(name, &["agent"]).await;
        assert_eq!(user["username"], name);
        let worker = user["worker"]["worker_sid"].as_str().unwrap();
        let url = sim.at(&format!("/taskrouter/v1/Workspaces/{WORKSPACE_SID}/Workers/{worker}"));
        let (status, worker) = sim.get(&url).await;
        assert_eq!(status, 200, "{worker}");
        worker["friendly_name"].as_str().unwrap().to_owned()
    };
    let (long, short) = ("a".repeat(65), "b".repeat(64));
    assert_eq!(named(&long).await, long);
    sim.control("switches", json!({ "long_username": "cut" })).await;
    assert_eq!(named(&long).await, "a".repeat(64));
    assert_eq!(named(&short).await, short);
    sim.control("switches", json!({ "long_username": "reject" })).await;
    let body =
        json!({ "username": long, "email": "u@example.com", "full_name": "U", "roles": ["agent"], "worker": {} });
    let (status, error) = sim.post(&sim.users("/Provision"), &body).await;
    assert_eq!((status.as_u16(), &error["code"]), (400, &json!(45004)));
    assert_eq!(named(&short).await, short);
    let unknown = sim.at(&format!("/taskrouter/v1/Workspaces/{WORKSPACE_SID}/Workers/WK{}", "0".repeat(32)));
    assert_eq!(sim.get(&unknown).await.0, 404);
}

#[tokio::test]
async fn a_reset_restores_the_switches_of_the_start() {
    let switches = Switches { mint_status: MintStatus::Ok, ..Switches::default() };
    let sim = crate::common::sim_with(Config { switches, ..Config::default() }).await;
    sim.control("switches", json!({ "mint_status": 201, "info_status": 200 })).await;
    sim.send(sim.http.post(sim.at("/__sim/reset"))).await;
    let (_, shown) = sim.get(&sim.at("/__sim/switches")).await;
    assert_eq!((&shown["mint_status"], &shown["info_status"]), (&json!(200), &json!(201)));
}

#[tokio::test]
async fn switches_change_shapes_and_tell_lies() {
    let sim = sim().await;
    let user = sim.provision("ada", &["agent"]).await;
    let sid = user["flex_user_sid"].as_str().unwrap();
    sim.control("switches", json!({ "mint_for_other_user": true, "mint_wider_roles": true })).await;
    let lie = sim.mint(sid).await;
    assert_ne!(lie["token_info"]["flex_user_sid"], sid);
    assert_eq!(lie["token_info"]["roles"], json!(["agent", "admin"]));
    sim.control(
        "switches",
        json!({ "find_returns_two": true, "find_case_sensitive": false, "sparse_responses": true }),
    )
    .await;
    let (_, found) = sim.get(&sim.users("?Username=ADA")).await;
    assert_eq!(found["users"].as_array().unwrap().len(), 2);
    assert!(found["users"][0].get("deactivated").is_none());
    sim.control("switches", json!({ "rfc9457_errors": true })).await;
    let (status, problem) = sim.get(&sim.users("/FU00000000000000000000000000000000")).await;
    assert_eq!((status.as_u16(), &problem["status"], &problem["code"]), (404, &json!(404), &json!(20404)));
    assert!(problem["title"].is_string());
}

#[tokio::test]
async fn an_update_is_a_form() {
    let sim = sim().await;
    let user = sim.provision("ada", &["agent"]).await;
    let sid = user["flex_user_sid"].as_str().unwrap();
    let instance = sim.at(&format!("/flex-api/v2/Instances/{INSTANCE_SID}/Users/{sid}"));
    let form = [("Email", "new@example.com"), ("Locale", "de-DE")];
    let (status, updated) =
        sim.send(sim.http.post(instance).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN)).form(&form)).await;
    assert_eq!(
        (status.as_u16(), &updated["email"], &updated["locale"]),
        (200, &json!("new@example.com"), &json!("de-DE"))
    );
}
