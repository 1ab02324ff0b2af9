//! Tests the presets, which describe how each known issuer differs from a plain OIDC provider.

use flexgate::authn::{CallerError, TokenFault};
use flexgate::domain::{Caller, Scope};
use serde_json::{Value, json};

use crate::issuer::*;

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const OBJECT: &str = "99999999-2222-3333-4444-555555555555";

fn fault(verdict: Result<Caller, CallerError>) -> TokenFault {
    match verdict {
        Err(CallerError::Invalid(fault)) => fault,
        other => panic!("expected a fault, not {other:?}"),
    }
}

async fn entra() -> Idp {
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    Idp::with(json!({"preset": "entra", "issuer": issuer})).await
}

fn entra_claims(changes: &Value) -> Value {
    let mut claims = json!({"tid": TENANT, "oid": OBJECT, "azp": "app", "scp": "flexgate.token", "scope": null});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[tokio::test]
async fn entra_people_are_tenant_and_object_under_both_issuers() {
    let idp = entra().await;
    for iss in [idp.issuer.clone(), format!("https://sts.windows.net/{TENANT}/")] {
        let caller = idp.judge(entra_claims(&json!({ "iss": iss }))).await.unwrap();
        assert_eq!(&*caller.identity.issuer, &*idp.issuer);
        assert_eq!(&*caller.identity.subject, format!("{TENANT}:{OBJECT}"));
        assert!(caller.scopes.grant(Scope::Token));
        assert_eq!(caller.verified_email, None, "email_verified is nothing Entra says");
    }
}

#[tokio::test]
async fn m09_entra_another_tenant_is_refused() {
    let idp = entra().await;
    let verdict = async |changes: Value| fault(idp.judge(entra_claims(&changes)).await);
    let other = "00000000-2222-3333-4444-555555555555";
    assert_eq!(verdict(json!({"tid": other})).await, TokenFault::Tenant);
    assert_eq!(verdict(json!({"tid": null})).await, TokenFault::Missing("tid"));
    assert_eq!(verdict(json!({"oid": null})).await, TokenFault::Missing("oid"));
    assert_eq!(verdict(json!({"oid": ""})).await, TokenFault::Malformed("oid"));
    let issuer = idp.issuer.replace(TENANT, other);
    assert_eq!(verdict(json!({"iss": issuer})).await, TokenFault::IssuerUnknown);
    let issuer = "https://login.microsoftonline.com/{tenantid}/v2.0";
    assert_eq!(verdict(json!({"iss": issuer})).await, TokenFault::IssuerUnknown);
}

#[tokio::test]
async fn m12_entra_an_id_token_for_the_same_application_is_refused() {
    let id_token = entra_claims(&json!({"azp": null, "scp": null, "roles": ["agent"]}));
    assert_eq!(fault(entra().await.judge(id_token).await), TokenFault::IdToken);
}

#[tokio::test]
async fn okta_people_are_uid_and_scopes_are_scp() {
    let idp = Idp::with(json!({"preset": "okta", "issuer": "{origin}/oauth2/default"})).await;
    let changes = json!({"sub": "ada@example.com", "uid": "00u1", "cid": "0oa1", "scp": ["flexgate.token"]});
    let caller = idp.judge(changes).await.unwrap();
    assert_eq!(&*caller.identity.subject, "00u1");
    assert_eq!(caller.username.unwrap().as_str(), "ada@example.com");
    assert!(caller.scopes.grant(Scope::Token));
    let service = idp.judge(json!({"sub": "0oa1", "cid": "0oa1", "scp": ["flexgate.token.any"]})).await.unwrap();
    assert_eq!(&*service.identity.subject, "0oa1");
    assert_eq!(fault(idp.judge(json!({"uid": 1, "cid": "0oa1"})).await), TokenFault::Malformed("uid"));
    assert_eq!(fault(idp.judge(json!({"sub": "00u1"})).await), TokenFault::IdToken);
}

#[tokio::test]
async fn auth0_permissions_count_and_scope_does_not() {
    let idp = Idp::with(json!({"preset": "auth0", "issuer": "{origin}/"})).await;
    let changes = json!({"scope": "flexgate.token.any", "permissions": ["flexgate.token"]});
    let caller = idp.judge(changes).await.unwrap();
    assert!(caller.scopes.grant(Scope::Token) && !caller.scopes.grant(Scope::TokenAny));
}

#[tokio::test]
async fn m08_cognito_the_client_is_the_audience() {
    let idp = Idp::with(json!({"preset": "cognito", "scope_map": {"flexgate/token": "flexgate.token"}})).await;
    let verdict = async |changes: Value| {
        let mut claims = json!({
            "aud": null, "client_id": "flexgate", "token_use": "access", "username": "ada", "scope": "flexgate/token"
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        idp.judge(claims).await
    };
    let caller = verdict(json!({})).await.unwrap();
    assert_eq!(caller.username.unwrap().as_str(), "ada");
    assert!(caller.scopes.grant(Scope::Token));
    assert_eq!(fault(verdict(json!({"client_id": "other"})).await), TokenFault::Audience("client_id"));
    assert_eq!(fault(verdict(json!({"client_id": null})).await), TokenFault::Missing("client_id"));
    assert_eq!(
        fault(verdict(json!({"client_id": "other", "aud": "flexgate"})).await),
        TokenFault::Audience("client_id")
    );
    assert_eq!(fault(verdict(json!({"token_use": null})).await), TokenFault::Missing("token_use"));
    assert_eq!(fault(verdict(json!({"token_use": "refresh"})).await), TokenFault::Malformed("token_use"));
    assert_eq!(fault(verdict(json!({"token_use": "id", "aud": "flexgate"})).await), TokenFault::IdToken);
}

#[tokio::test]
async fn cognito_id_tokens_are_accepted_where_configured() {
    let idp = Idp::with(json!({"preset": "cognito", "accept_id_tokens": true})).await;
    assert!(idp.judge(json!({"token_use": "id"})).await.is_ok());
    let verdict = idp.judge(json!({"token_use": "id", "aud": "other", "client_id": "flexgate"})).await;
    assert_eq!(fault(verdict), TokenFault::Audience("aud"));
}

#[tokio::test]
async fn google_accounts_must_be_of_the_domain_and_verified() {
    let settings =
        json!({"preset": "google", "issuer": "https://accounts.google.com", "hosted_domains": ["example.com"]});
    let idp = Idp::with(settings).await;
    for iss in ["https://accounts.google.com", "accounts.google.com"] {
        let caller = idp.judge(json!({"iss": iss, "hd": "example.com"})).await.unwrap();
        assert_eq!(&*caller.identity.issuer, "https://accounts.google.com");
        assert_eq!(caller.username.unwrap().as_str(), "ada@example.com");
    }
    let verdict = async |changes| fault(idp.judge(changes).await);
    assert_eq!(verdict(json!({})).await, TokenFault::HostedDomain);
    assert_eq!(verdict(json!({"hd": "example.com.evil.example"})).await, TokenFault::HostedDomain);
    assert_eq!(verdict(json!({"hd": ["example.com"]})).await, TokenFault::Malformed("hd"));
    for unverified in [json!(false), json!("false"), json!(null)] {
        let changes = json!({"hd": "example.com", "email_verified": unverified});
        assert_eq!(verdict(changes).await, TokenFault::EmailUnverified);
    }
}
