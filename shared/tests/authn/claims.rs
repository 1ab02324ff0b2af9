//! Attacks that use the claims of a signed token: M8 to M12 and M24 of the attack register.

use flexgate::authn::{CallerError, LEEWAY, TokenFault};
use flexgate::domain::{Role, Scope};
use serde_json::{Value, json};
use time::Duration;

use crate::issuer::*;

async fn assert_faults<const N: usize>(idp: &Idp, cases: [(Value, TokenFault); N]) {
    for (changes, fault) in cases {
        assert_eq!(idp.judge(changes.clone()).await.unwrap_err(), CallerError::Invalid(fault), "{changes}");
    }
}

#[tokio::test]
async fn a_caller_is_what_the_claims_say() {
    let caller = Idp::new().await.judge(json!({})).await.unwrap();
    assert!(caller.scopes.grant(Scope::Token) && !caller.scopes.grant(Scope::TokenAny));
    assert_eq!(caller.username.unwrap().as_str(), "ada");
    assert_eq!(caller.verified_email.unwrap().as_str(), "ada@example.com");
    assert_eq!(caller.full_name.unwrap().as_str(), "Ada Lovelace");
    assert_eq!(caller.expires_at, NOW + Duration::hours(1));
    assert_eq!(caller.issued_at, Some(NOW));
    assert!(caller.roles.is_empty());
}

#[tokio::test]
async fn m08_a_token_for_another_audience_is_refused() {
    let idp = Idp::new().await;
    assert_faults(
        &idp,
        [
            (json!({"aud": null}), TokenFault::Missing("aud")),
            (json!({"aud": "other"}), TokenFault::Audience("aud")),
            (json!({"aud": ["other", "another"]}), TokenFault::Audience("aud")),
            (json!({"aud": []}), TokenFault::Audience("aud")),
            (json!({"aud": "flexgate2"}), TokenFault::Audience("aud")),
            (json!({"aud": "flex"}), TokenFault::Audience("aud")),
            (json!({"aud": "Flexgate"}), TokenFault::Audience("aud")),
            (json!({"aud": "other flexgate"}), TokenFault::Audience("aud")),
            (json!({"aud": ""}), TokenFault::Audience("aud")),
            (json!({"aud": 1}), TokenFault::Malformed("aud")),
            (json!({"aud": {"flexgate": "flexgate"}}), TokenFault::Malformed("aud")),
            (json!({"aud": ["flexgate", 1]}), TokenFault::Malformed("aud")),
            (json!({"aud": [["flexgate"]]}), TokenFault::Malformed("aud")),
            // Only a preset can allow `client_id` to replace `aud`. This issuer has no preset.
            (json!({"aud": null, "client_id": "flexgate"}), TokenFault::Missing("aud")),
        ],
    )
    .await;
    assert!(idp.judge(json!({"aud": ["other", "flexgate"]})).await.is_ok());
}

#[tokio::test]
async fn m09_an_issuer_is_what_it_is_called_to_the_byte() {
    let idp = Idp::new().await;
    let port = idp.origin.rsplit_once(':').unwrap().1;
    for iss in [
        format!("{}/", idp.issuer),
        idp.issuer.to_uppercase(),
        idp.issuer.replace("http", "HTTP"),
        idp.issuer.replace("http", "https"),
        format!("{}/tenant-2", idp.issuer),
        format!("http://localhost:{port}/idp"),
        format!(" {}", idp.issuer),
        "https://login.example.com".to_owned(),
        String::new(),
    ] {
        assert_faults(&idp, [(json!({"iss": iss}), TokenFault::IssuerUnknown)]).await;
    }
    for iss in [json!(null), json!([idp.issuer]), json!(1)] {
        assert_faults(&idp, [(json!({"iss": iss}), TokenFault::IssuerMissing)]).await;
    }
    assert_eq!((idp.key_fetches(), idp.other_requests()), (0, 0));
}

#[tokio::test]
async fn m10_a_token_without_a_sound_expiry_is_refused() {
    let idp = Idp::new().await;
    let now = NOW.unix_timestamp();
    let leeway = LEEWAY.whole_seconds();
    assert!(LEEWAY <= Duration::minutes(1));
    assert_faults(
        &idp,
        [
            (json!({"exp": null}), TokenFault::Missing("exp")),
            (json!({"exp": now - 3600}), TokenFault::Expired),
            (json!({"exp": now - leeway}), TokenFault::Expired),
            (json!({"exp": 1}), TokenFault::Expired),
        ],
    )
    .await;
    let strange = [
        json!((now + 3600).to_string()),
        json!(1e300),
        json!(-1),
        json!(-1e300),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(99_999_999_999_i64),
        json!(99_999_999_999.5),
        json!(-0.5),
        json!(true),
        json!([now + 3600]),
        json!({}),
    ];
    for exp in strange {
        assert_faults(&idp, [(json!({ "exp": exp }), TokenFault::Malformed("exp"))]).await;
    }
    assert!(idp.judge(json!({"exp": now - leeway + 1})).await.is_ok());
    let whole = idp.token(&json!({})).split('.').nth(1).map(str::to_owned).unwrap();
    assert!(!whole.is_empty());
    let floats = idp.claims().to_string().replace(&(now + 3600).to_string(), &format!("{}.0", now + 3600));
    assert!(floats.contains(".0"));
    assert!(idp.verify(&ES256.token(header(&json!({})), floats)).await.is_ok());
}

#[tokio::test]
async fn m10_a_token_expires_while_time_passes() {
    let idp = Idp::new().await;
    let token = idp.token(&json!({}));
    idp.clock.advance(Duration::hours(1) + LEEWAY - Duration::SECOND);
    assert!(idp.verify(&token).await.is_ok());
    idp.clock.advance(Duration::SECOND);
    assert_eq!(idp.fault(&token).await, TokenFault::Expired);
}

#[tokio::test]
async fn m11_a_token_from_the_future_is_refused() {
    let idp = Idp::new().await;
    let ahead = NOW.unix_timestamp() + LEEWAY.whole_seconds();
    for name in ["nbf", "iat"] {
        assert_faults(
            &idp,
            [
                (json!({ name: ahead + 1 }), TokenFault::Early(name)),
                (json!({ name: ahead + 86_400 }), TokenFault::Early(name)),
                (json!({ name: ahead.to_string() }), TokenFault::Malformed(name)),
                (json!({ name: 1e300 }), TokenFault::Malformed(name)),
                (json!({ name: -1 }), TokenFault::Malformed(name)),
                (json!({ name: [] }), TokenFault::Malformed(name)),
            ],
        )
        .await;
        assert!(idp.judge(json!({ name: ahead })).await.is_ok());
        assert!(idp.judge(json!({ name: null })).await.is_ok());
    }
}

#[tokio::test]
async fn m12_an_id_token_is_no_access_token() {
    let idp = Idp::new().await;
    let changes = [json!({"nonce": "n"}), json!({"at_hash": "h"}), json!({"c_hash": "h"}), json!({"typ": "ID"})];
    for changes in changes {
        assert_faults(&idp, [(changes.clone(), TokenFault::IdToken)]).await;
    }
    // Keycloak's access tokens may have a nonce. Their `typ` shows that they are not ID tokens.
    assert!(idp.judge(json!({"nonce": "n", "typ": "Bearer"})).await.is_ok());
    let lenient = Idp::with(json!({"accept_id_tokens": true})).await;
    assert!(lenient.judge(json!({"nonce": "n"})).await.is_ok());
}

#[tokio::test]
async fn m12_events_and_tokens_bound_to_a_key_are_no_bearer_tokens() {
    let idp = Idp::with(json!({"accept_id_tokens": true})).await;
    assert_faults(
        &idp,
        [
            (json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), TokenFault::SecurityEvent),
            (json!({"cnf": {"jkt": "x"}}), TokenFault::Bound),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_subject_is_required() {
    let idp = Idp::new().await;
    let malformed = [json!(1), json!(""), json!(["user-1"]), json!("a\nb"), json!("x".repeat(256))];
    for sub in malformed {
        assert_faults(&idp, [(json!({ "sub": sub }), TokenFault::Malformed("sub"))]).await;
    }
    assert_faults(&idp, [(json!({"sub": null}), TokenFault::Missing("sub"))]).await;
}

#[tokio::test]
async fn left_out_claims_are_not_no_claims() {
    let idp = Idp::with(json!({"roles_claim": "groups"})).await;
    assert_faults(
        &idp,
        [
            (json!({"_claim_names": {"groups": "src1"}}), TokenFault::LeftOut("groups".into())),
            (json!({"hasgroups": true}), TokenFault::LeftOut("groups".into())),
        ],
    )
    .await;
}

#[tokio::test]
async fn m24_an_unverified_email_names_nobody() {
    for claim in ["email", "/email"] {
        let idp = Idp::with(json!({"username_claim": claim})).await;
        let verified = idp.judge(json!({})).await.unwrap();
        assert_eq!(verified.username.unwrap().as_str(), "ada@example.com");
        for value in [json!(false), json!(null), json!("yes"), json!(0)] {
            let caller = idp.judge(json!({ "email_verified": value })).await.unwrap();
            assert_eq!((caller.username, caller.verified_email), (None, None), "{value}");
        }
    }
    // The username comes from the claim `email`. But only the address in the claim `mail` is verified, so there is no
    // username.
    let idp = Idp::with(json!({"username_claim": "email", "email_claim": "mail"})).await;
    assert_eq!(idp.judge(json!({"mail": "grace@example.com"})).await.unwrap().username, None);
}

#[tokio::test]
async fn scopes_come_from_the_configured_claim() {
    let idp = Idp::with(json!({"scope_claim": "/realm/roles", "scope_map": {"Flex Agents": "flexgate.token"}})).await;
    let granted = async |realm: Value| {
        let caller = idp.judge(json!({ "realm": realm })).await?;
        Ok::<_, CallerError>([Scope::Token, Scope::TokenAny].map(|scope| caller.scopes.grant(scope)))
    };
    assert_eq!(granted(json!({"roles": ["Flex Agents", "x"]})).await, Ok([true, false]));
    // If there is a scope map, a group whose name is the name of a scope does not give that scope.
    assert_eq!(granted(json!({"roles": ["flexgate.token.any", "flexgate.token"]})).await, Ok([false, false]));
    assert_eq!(granted(json!({"roles": []})).await, Ok([false, false]));
    assert_eq!(granted(json!({})).await, Ok([false, false]));
    let malformed = TokenFault::Setting { setting: "scope_claim", claim: "/realm/roles".into() };
    for roles in [json!(1), json!(true), json!(["Flex Agents", 1])] {
        assert_eq!(granted(json!({ "roles": roles })).await, Err(CallerError::Invalid(malformed.clone())));
    }
}

#[tokio::test]
async fn roles_come_from_the_configured_claim() {
    let claim = "https://flexgate.example/roles";
    let idp = Idp::with(json!({"roles_claim": claim, "role_map": {"group-x": "supervisor"}})).await;
    let roles = async |value: Value| idp.judge(json!({ claim: value })).await.map(|caller| caller.roles);
    assert_eq!(roles(json!(["group-x", "admin"])).await, Ok([Role::Supervisor].into()));
    assert_eq!(roles(json!("group-x")).await, Ok([Role::Supervisor].into()));
    assert_eq!(roles(json!(null)).await, Ok([].into()));
    let malformed = TokenFault::Setting { setting: "roles_claim", claim: claim.into() };
    assert_eq!(roles(json!(7)).await, Err(CallerError::Invalid(malformed)));
    let plain = Idp::with(json!({"roles_claim": "realm_access.roles"})).await;
    let caller = plain.judge(json!({"realm_access": {"roles": ["agent", "Admin", "offline_access"]}})).await.unwrap();
    assert_eq!(caller.roles, [Role::Agent, Role::Admin].into());
    assert_eq!(caller.unused.role_names().collect::<Vec<_>>(), ["offline_access"]);
}

#[tokio::test]
async fn a_description_that_cannot_be_used_is_absent() {
    let idp = Idp::new().await;
    let changes = json!({"preferred_username": "a\u{202e}b", "name": 7, "email": "nobody"});
    let caller = idp.judge(changes).await.unwrap();
    assert_eq!((caller.username, caller.full_name, caller.verified_email), (None, None, None));
}

#[tokio::test]
async fn a_refusal_shows_nothing_of_the_token() {
    let idp = Idp::new().await;
    for changes in [json!({"aud": "canary"}), json!({"sub": ["canary"]}), json!({"iss": "https://canary"})] {
        let error = idp.judge(changes).await.unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert!(!format!("{error} {error:?} {source:?}").contains("canary"));
    }
}
