//! Tests token exchange (RFC 8693) on `POST /token`, and the reasons for refusals in audit events.

use std::time::Duration;

use flexgate::base::outbound::{Deadline, send};
use flexgate_test_support::Reply;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use reqwest::Request;
use serde_json::{Value, json};

use crate::gate::{Gate, Minted as _};

const GRANT: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const FLEX: &str = "urn:flexgate:params:oauth:token-type:flex";

impl Gate {
    /// Sends this form unchanged.
    async fn form(&self, bearer: Option<&str>, body: String) -> Reply {
        let mut request = Request::new(Method::POST, format!("{}/token", self.url).parse().unwrap());
        let content_type = HeaderValue::from_static("application/x-www-form-urlencoded;charset=UTF-8");
        request.headers_mut().insert(CONTENT_TYPE, content_type);
        if let Some(bearer) = bearer {
            request.headers_mut().insert(AUTHORIZATION, format!("Bearer {bearer}").parse().unwrap());
        }
        *request.body_mut() = Some(body.into());
        Reply::of(send(&self.world.http, request, Deadline::after(Duration::from_mins(1)), 1 << 20).await.unwrap())
    }

    /// Exchanges this token, with these additional parameters.
    async fn exchange(&self, token: &str, more: &[(&str, &str)]) -> Reply {
        let own = [GRANT, ("subject_token", token), ("subject_token_type", JWT)];
        self.form(None, encoded(&[&own, more].concat())).await
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect();
    pairs.join("&")
}

/// Asserts that the answer is this problem, and that its member `error` has this value.
#[track_caller]
fn refused(answer: &Reply, status: u16, code: &str, error: &str) {
    answer.assert_problem(status, code);
    assert_eq!(answer.body["error"], error, "{}", answer.body);
}

#[tokio::test]
async fn a_token_is_exchanged_without_a_header() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let later = gate.world.clock_rng().now().unix_timestamp() + 7200;
    let token = gate.token_of("ada", json!({ "exp": later })).await;
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    for more in [
        vec![],
        vec![("requested_token_type", access_token)],
        vec![("requested_token_type", FLEX), ("scope", "flexgate.token agent"), ("ttl", "600"), ("username", "ada")],
        vec![("client_id", "desk"), ("scope", ""), ("audience", "")],
    ] {
        let answer = gate.exchange(&token, &more).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = &answer.body;
        assert_eq!((&body["issued_token_type"], &body["token_type"]), (&json!(FLEX), &json!("N_A")));
        assert_eq!((&body["scope"], &body["token_info"]["flex_user_sid"]), (&json!("agent"), &json!(ada)));
        let ttl = if more.iter().any(|(name, _)| *name == "ttl") { 600 } else { 3600 };
        let expires_in = body["expires_in"].as_u64().unwrap();
        assert!((ttl - 5..=ttl).contains(&expires_in), "{expires_in}");
        assert!(!body["access_token"].as_str().unwrap().is_empty());
        assert_eq!(answer.header("cache-control"), "no-store");
        let audit = &answer.audit()[0];
        assert_eq!(
            (&audit["decision"], &audit["subject"], &audit["act"]),
            (&json!("allowed"), &json!("sub-ada"), &Value::Null)
        );
    }
    // The header may contain the same token.
    let form = encoded(&[GRANT, ("subject_token", &token), ("subject_token_type", access_token)]);
    assert_eq!(gate.form(Some(&token), form).await.status, 200);
}

#[tokio::test]
async fn an_invalid_exchange_says_what_is_wrong() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let token = gate.token_of("ada", json!({})).await;
    let subject = [("subject_token", token.as_str()), ("subject_token_type", JWT)];
    let invalid = "exchange_invalid";
    for (form, error) in [
        (String::new(), "invalid_request"),
        (encoded(&subject), "invalid_request"),
        (encoded(&[&subject[..], &[("grant_type", "client_credentials")]].concat()), "unsupported_grant_type"),
        (encoded(&[GRANT]), "invalid_request"),
        (encoded(&[GRANT, subject[0]]), "invalid_request"),
        (encoded(&[GRANT, subject[1]]), "invalid_request"),
        (encoded(&[GRANT, subject[0], ("subject_token_type", "urn:x:saml2")]), "invalid_request"),
        (encoded(&[GRANT, subject[0], subject[0], subject[1]]), "invalid_request"),
        (encoded(&[GRANT, ("subject_token", "a.b.c"), subject[1]]), "invalid_request"),
        (encoded(&[GRANT, ("subject_token", &"x".repeat(9_000)), subject[1]]), "invalid_request"),
    ] {
        refused(&gate.form(None, form).await, 400, invalid, error);
    }
    for (more, error) in [
        (("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"),
        (("audience", "https://api.example"), "invalid_target"),
        (("resource", "https://api.example"), "invalid_target"),
        (("scope", "agent openid"), "invalid_scope"),
        (("ttl", "0"), "invalid_request"),
        (("ttl", "3600.5"), "invalid_request"),
        (("username", "%E2%80%8B"), "invalid_request"),
        (("actor_token", &*token), "invalid_request"),
        (("actor_token_type", JWT), "invalid_request"),
    ] {
        refused(&gate.exchange(&token, &[more]).await, 400, invalid, error);
    }
    let large = encoded(&[GRANT, ("pad", &"x".repeat(70_000))]);
    refused(&gate.form(None, large).await, 413, "too_large", "invalid_request");
    let gate = Gate::with(&[("FLEXGATE_ISSUERS", "")]).await;
    refused(&gate.exchange("a.b.c", &[]).await, 501, "not_configured", "server_error");
}

#[tokio::test]
async fn m01_an_exchange_never_trusts_more_than_the_token_proves() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    gate.world.at_twilio("grace", &["agent"]).await;
    let (ada, grace) = (gate.token_of("ada", json!({})).await, gate.token_of("grace", json!({})).await);
    // The header and the form contain tokens of different people.
    let form = |token: &str| encoded(&[GRANT, ("subject_token", token), ("subject_token_type", JWT)]);
    let answer = gate.form(Some(&ada), form(&grace)).await;
    refused(&answer, 400, "exchange_invalid", "invalid_request");
    assert_eq!(answer.audit()[0]["subject"], "sub-ada");
    refused(&gate.form(Some("a.b.c"), form(&ada)).await, 401, "token_invalid", "invalid_client");
    refused(&gate.form(Some("a.b.c"), "not=read".into()).await, 401, "token_invalid", "invalid_client");
    // All rules of the JSON body apply.
    refused(&gate.exchange(&ada, &[("username", "grace")]).await, 403, "mint_refused", "invalid_grant");
    refused(&gate.exchange(&ada, &[("scope", "admin")]).await, 403, "role_forbidden", "invalid_scope");
    let without = gate.token_of("ada", json!({"scope": "openid"})).await;
    refused(&gate.exchange(&without, &[]).await, 403, "scope_missing", "unauthorized_client");
    let expired = gate.token_of("ada", json!({"exp": 7})).await;
    let answer = gate.exchange(&expired, &[]).await;
    refused(&answer, 400, "exchange_invalid", "invalid_request");
    assert!(answer.reason().contains("the claim exp"), "{}", answer.reason());
    assert!(!answer.body.to_string().contains("exp "), "{}", answer.body);
}

#[tokio::test]
async fn who_acts_for_somebody_is_in_the_audit() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let person = gate.token_of("ada", json!({})).await;
    let scope = json!({"scope": "flexgate.token.any", "preferred_username": null});
    let service = gate.token_of("service", scope).await;
    let act = |answer: &Reply| answer.audit()[0]["act"].clone();

    // The service names a user.
    let answer = gate.mint(&service, json!({"username": "ada"})).await;
    answer.assert_minted(&ada);
    assert_eq!((act(&answer), &answer.audit()[0]["subject"]), (json!("sub-service"), &json!("sub-service")));
    let answer = gate.mint(&service, json!({"username": "nobody"})).await;
    assert_eq!((answer.status.as_u16(), act(&answer)), (403, json!("sub-service")));
    // The claim `act` in the service's own token already names another actor.
    let acting = json!({"scope": "flexgate.token.any", "preferred_username": null, "act": {"sub": "batch-7"}});
    let acting = gate.token_of("service", acting).await;
    let answer = gate.exchange(&acting, &[("username", "ada")]).await;
    assert_eq!((answer.status.as_u16(), act(&answer)), (200, json!("batch-7")));
    // The request contains both the person's token and the service's token.
    let answer = gate.exchange(&person, &[("actor_token", &service), ("actor_token_type", JWT)]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((act(&answer), &answer.audit()[0]["subject"]), (json!("sub-service"), &json!("sub-ada")));
    assert_eq!(answer.body["token_info"]["flex_user_sid"], json!(ada));
    // The person mints for themselves.
    assert_eq!(act(&gate.mint_as("ada").await), Value::Null);

    // An actor whose token lacks the scope `flexgate.token.any` cannot act for anybody.
    let other = gate.token_of("grace", json!({})).await;
    let answer = gate.exchange(&person, &[("actor_token", &other), ("actor_token_type", JWT)]).await;
    refused(&answer, 403, "scope_missing", "unauthorized_client");
    assert_eq!(act(&answer), json!("sub-grace"));
    let answer = gate.exchange(&person, &[("actor_token", "a.b.c"), ("actor_token_type", JWT)]).await;
    refused(&answer, 400, "exchange_invalid", "invalid_request");
    assert!(answer.reason().starts_with("actor_token: "), "{}", answer.reason());
    // A malformed `act` claim is ignored.
    for malformed in [json!("x"), json!({"sub": 7}), json!([]), json!({"sub": ""})] {
        let token = gate.token_of("ada", json!({"act": malformed})).await;
        assert_eq!(act(&gate.mint(&token, json!({})).await), Value::Null);
    }
}

#[tokio::test]
async fn a_refusal_names_the_claim_and_never_its_value() {
    let issuers = r#"[{"issuer": "{issuer}", "audiences": ["flexgate"], "username_claim": "email", "roles_claim": "roles",
        "email_verified_claim": "xms_edov"}]"#;
    let gate = Gate::with(&[("FLEXGATE_ISSUERS", issuers), ("FLEXGATE_JUST_IN_TIME", "create")]).await;
    let reason = async |changes: Value, status: u16| {
        let token = gate.token_of("ada", changes).await;
        let answer = gate.mint(&token, json!({})).await;
        assert_eq!(answer.status, status, "{} {}", answer.body, answer.reason());
        assert!(!answer.reason().contains("canary") && !answer.body.to_string().contains("canary"));
        answer.reason()
    };
    // Case R21: the reason in the audit event explains why no username was found.
    assert!(
        reason(json!({}), 403).await.contains("the claim xms_edov does not say that the e-mail address is verified")
    );
    assert!(reason(json!({"email": null}), 403).await.contains("the claim email is missing"));
    assert!(
        reason(json!({"email": "canary\u{202e}", "xms_edov": true}), 403)
            .await
            .contains("the claim email cannot be used")
    );
    // Case R28: the claims contain no usable name.
    let nameless = json!({"xms_edov": 1, "name": ["canary"]});
    assert!(reason(nameless, 403).await.contains("the claim name cannot be used"));
    // Case R29: the mint succeeds, but the reason in the audit event contains the unknown roles, so that an
    // administrator can correct them.
    let roles = reason(json!({"xms_edov": 1, "roles": ["Agent", "Superviser"]}), 201).await;
    assert!(roles.ends_with("these roles mean nothing here: Superviser"), "{roles}");
    // A claim of the wrong type, or another audience, makes the token invalid.
    assert!(reason(json!({"nbf": "canary"}), 401).await.contains("the claim nbf is malformed"));
    assert!(reason(json!({"roles": 7}), 401).await.contains("the claim roles, which the setting roles_claim names"));
    assert!(reason(json!({"aud": "canary"}), 401).await.contains("the claim aud names another audience"));
}

#[tokio::test]
async fn claims_are_not_blamed_for_a_failure_of_twilio() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let token = gate.token_of("ada", json!({"name": ["canary"], "roles": ["Superviser"]})).await;
    gate.world.fault(&json!({"service": "flex-api", "kind": "status", "status": 500, "times": 9})).await;
    let answer = gate.mint(&token, json!({})).await;
    answer.assert_problem(503, "unavailable");
    let reason = answer.reason();
    assert!(!reason.contains("cannot be used") && !reason.contains("Superviser"), "{reason}");
}

#[tokio::test]
async fn r29_dropped_roles_are_explained() {
    let gate = Gate::with(&[("FLEXGATE_JUST_IN_TIME", "create-and-sync")]).await;
    let token = gate.token_of("ada", json!({"roles": ["SUPERVISOR", "Lead", "Admin"]})).await;
    let answer = gate.mint(&token, json!({})).await;
    assert_eq!(answer.body["token_info"]["roles"], json!(["supervisor"]), "{}", answer.body);
    let sid = answer.body["token_info"]["flex_user_sid"].as_str().unwrap().parse().unwrap();
    let deadline = Deadline::after(Duration::from_secs(30));
    let user = gate.elsewhere().flex().get(&sid, deadline).await.unwrap();
    let explained = gate.ledger().explain(&user).await.unwrap();
    let reasons: Vec<_> = explained.roles.iter().map(|role| (role.role.as_ref(), role.reason)).collect();
    assert_eq!(reasons, [("admin", "forbidden"), ("lead", "unknown"), ("supervisor", "stated")]);
    assert!(answer.reason().contains("without admin (not allowed)"), "{}", answer.reason());
}
