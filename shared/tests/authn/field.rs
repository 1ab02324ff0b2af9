//! Tokens and key sets as real identity providers send them: R20 to R30 of the attack register.

use flexgate::authn::{CallerError, LEEWAY, TokenFault};
use flexgate::domain::{Caller, Role};
use serde_json::{Value, json};
use time::Duration;

use crate::issuer::*;

fn fault(verdict: Result<Caller, CallerError>) -> TokenFault {
    match verdict {
        Err(CallerError::Invalid(fault)) => fault,
        other => panic!("expected a fault, not {other:?}"),
    }
}

#[tokio::test]
async fn r20_one_leeway_and_dates_as_the_rfc_allows_them() {
    let idp = Idp::new().await;
    let now = NOW.unix_timestamp();
    #[expect(clippy::cast_precision_loss, reason = "a date of today has far fewer bits than a float")]
    let float = |seconds: i64, fraction: f64| json!(seconds as f64 + fraction);
    for changes in [
        json!({"nbf": 0}),
        json!({"nbf": 0.0, "iat": 0}),
        json!({"nbf": float(now, 0.25), "iat": float(now, 0.5), "exp": float(now + 60, 0.75)}),
        json!({"iat": now + 45}),
        json!({"nbf": now + 60, "iat": now + 60}),
        json!({"exp": now - 59}),
        json!({"exp": float(now - 59, 0.9)}),
    ] {
        assert!(idp.judge(changes.clone()).await.is_ok(), "{changes}");
    }
    assert_eq!(LEEWAY, Duration::seconds(60));
    for (changes, expected) in [
        (json!({"iat": now + 61}), TokenFault::Early("iat")),
        (json!({"nbf": float(now + 61, 0.5)}), TokenFault::Early("nbf")),
        (json!({"exp": now - 60}), TokenFault::Expired),
        (json!({"exp": float(now - 60, 0.5)}), TokenFault::Expired),
        (json!({"exp": 0}), TokenFault::Expired),
        (json!({"exp": -0.5}), TokenFault::Malformed("exp")),
        (json!({"exp": 1e300}), TokenFault::Malformed("exp")),
        (json!({"nbf": -1}), TokenFault::Malformed("nbf")),
    ] {
        assert_eq!(fault(idp.judge(changes.clone()).await), expected, "{changes}");
    }
    // Fractions of a second are dropped, so that no token is valid for longer than it says.
    let caller = idp.judge(json!({"exp": float(now + 90, 0.9), "iat": float(now, 0.9)})).await.unwrap();
    assert_eq!((caller.expires_at, caller.issued_at), (NOW + Duration::seconds(90), Some(NOW)));
}

#[tokio::test]
async fn r21_an_address_is_verified_however_the_issuer_writes_true() {
    let idp = Idp::with(json!({"username_claim": "email", "email_verified_claim": "xms_edov"})).await;
    for verified in [json!(true), json!(1), json!(1.0), json!("1"), json!("true"), json!("True")] {
        let caller = idp.judge(json!({ "xms_edov": verified, "email_verified": null })).await.unwrap();
        assert_eq!(caller.username.unwrap().as_str(), "ada@example.com", "{verified}");
    }
    for unverified in [
        json!(false),
        json!(0),
        json!("0"),
        json!("false"),
        json!(""),
        json!("yes"),
        json!(2),
        json!(-1),
        json!("1 "),
        json!([true]),
        json!({"true": true}),
    ] {
        let caller = idp.judge(json!({ "xms_edov": unverified })).await.unwrap();
        assert_eq!((caller.username, caller.verified_email), (None, None), "{unverified}");
    }
    let google =
        json!({"preset": "google", "issuer": "https://accounts.google.com", "hosted_domains": ["example.com"]});
    let google = Idp::with(google).await;
    assert!(google.judge(json!({"hd": "example.com", "email_verified": "true"})).await.is_ok());
}

#[tokio::test]
async fn r22_only_a_claim_that_is_read_and_left_out_refuses() {
    let idp = Idp::with(json!({"roles_claim": "roles"})).await;
    let left_out = json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}, "hasgroups": true});
    let mut changes = left_out.clone();
    changes["roles"] = json!(["agent"]);
    assert_eq!(idp.judge(changes).await.unwrap().roles, [Role::Agent].into());
    assert!(idp.judge(left_out.clone()).await.is_ok(), "nobody reads groups");
    for strange in [json!(null), json!([]), json!("roles"), json!(7), json!({})] {
        assert!(idp.judge(json!({"_claim_names": strange, "hasgroups": false})).await.is_ok(), "{strange}");
    }
    let left_out_of =
        async |settings: Value, changes: Value| match fault(Idp::with(settings).await.judge(changes).await) {
            TokenFault::LeftOut(claim) => claim.into_string(),
            other => panic!("{other:?}"),
        };
    let roles = json!({"roles_claim": "roles"});
    assert_eq!(left_out_of(roles.clone(), json!({"_claim_names": {"roles": "src1"}})).await, "roles");
    assert_eq!(left_out_of(roles, json!({"roles": null, "_claim_names": {"roles": "src1"}})).await, "roles");
    let scopes = json!({"scope_claim": "groups", "scope_map": {"a": "flexgate.token"}});
    for settings in [json!({"roles_claim": "groups"}), scopes] {
        assert_eq!(left_out_of(settings.clone(), left_out.clone()).await, "groups");
        assert_eq!(left_out_of(settings, json!({"hasgroups": "true"})).await, "groups");
    }
    let nested = json!({"roles_claim": "/realm/roles"});
    assert_eq!(left_out_of(nested, json!({"_claim_names": {"realm": "src1"}})).await, "/realm/roles");
}

#[tokio::test]
async fn r23_null_is_absent() {
    let idp = Idp::with(json!({"roles_claim": "groups"})).await;
    let token = |claims: String| ES256.token(header(&json!({})), claims);
    let claims = |extra: &str| format!("{},{extra}}}", idp.claims().to_string().strip_suffix('}').unwrap());
    for extra in [
        r#""groups":null,"nbf":null,"cnf":null,"events":null,"nonce":null,"at_hash":null,"typ":null,"hasgroups":null"#,
        r#""groups":[null,null]"#,
        r#""groups":[]"#,
        r#""groups":{}"#,
        r#""groups":{"agent":null}"#,
        r#""groups":{"agent":false}"#,
    ] {
        assert_eq!(idp.verify(&token(claims(extra))).await.unwrap().roles, [].into(), "{extra}");
    }
    for extra in [
        r#""groups":["agent",null]"#,
        r#""groups":{"agent":{"275":"example.com"}}"#,
        r#""groups":{"agent":{},"manager":{"275":"example.com"}}"#,
        r#""groups":{"agent":true,"supervisor":null}"#,
    ] {
        assert_eq!(idp.verify(&token(claims(extra))).await.unwrap().roles, [Role::Agent].into(), "{extra}");
    }
    for name in ["exp", "sub", "aud"] {
        let claims = idp.claims_with(&json!({ name: null })).to_string();
        let claims = format!(r#"{},"{name}":null}}"#, claims.strip_suffix('}').unwrap());
        assert_eq!(idp.fault(&token(claims)).await, TokenFault::Missing(name));
    }
    let nulls = ES256.token(r#"{"alg":"ES256","kid":null,"typ":null,"jku":null,"x":null}"#, idp.claims().to_string());
    assert!(idp.verify(&nulls).await.is_ok());
    // The scopes may come from the same claim as the roles.
    let idp = Idp::with(json!({"scope_claim": "groups", "scope_map": {"agent": "flexgate.token"}})).await;
    let caller = idp.judge(json!({"groups": {"agent": {"275": "example.com"}}})).await.unwrap();
    assert!(caller.scopes.grant(flexgate::domain::Scope::Token));
}

#[tokio::test]
async fn r24_keys_that_cannot_be_used_are_skipped() {
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        jwk
    };
    let mut bare = ES256.jwk("k1");
    for name in ["use", "alg", "key_ops", "x5c", "x5t", "n"] {
        bare[name] = json!(null);
    }
    for keys in [
        json!([bare]),
        json!([with(ES256.jwk("k1"), "use", json!(null))]),
        json!([{"kty": null}, {"kty": "EC", "crv": "P-521", "kid": "k9"}, null, 7, "x", [], {}, ES256.jwk("k1")]),
        json!([{"kty": "AKP", "alg": "ML-DSA-44", "kid": "k1", "pub": "x"}, ES256.jwk("k1")]),
        json!([with(RS256.jwk("k1"), "n", json!("AQAB")), with(EDDSA.jwk("k1"), "x", json!(9)), ES256.jwk("k1")]),
        json!([{"kty": "oct", "kid": "k1", "k": "AAAA"}, ES256.jwk("k1")]),
    ] {
        let idp = Idp::new().await;
        idp.publish(&keys);
        assert!(idp.judge(json!({})).await.is_ok(), "{keys}");
    }
}

#[tokio::test]
async fn r25_the_algorithm_chooses_among_keys_without_a_name() {
    let unnamed = |signer: &Signer| {
        let mut jwk = signer.jwk("");
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let idp = Idp::new().await;
    idp.publish(&json!([unnamed(&RS256), unnamed(&ES256)]));
    let token = |signer: &Signer, kid: Value| {
        signer.token(header(&json!({"alg": signer.alg(), "kid": kid})), idp.claims().to_string())
    };
    for kid in [json!(null), json!("a-name-that-no-key-has")] {
        assert!(idp.verify(&token(&RS256, kid.clone())).await.is_ok(), "{kid}");
        assert!(idp.verify(&token(&ES256, kid.clone())).await.is_ok(), "{kid}");
        assert_eq!(idp.fault(&token(&es256(), kid)).await, TokenFault::Signature);
    }
    assert_eq!(idp.fault(&token(&EDDSA, json!(null))).await, TokenFault::KeyAlgorithm);
    // With two keys for one algorithm, the token must have a `kid`.
    let idp = Idp::new().await;
    idp.publish(&json!([unnamed(&ES256), unnamed(&es256())]));
    let token = ES256.token(header(&json!({"kid": null})), idp.claims().to_string());
    assert_eq!(idp.fault(&token).await, TokenFault::KeyMissing);
}

#[tokio::test]
async fn r26_a_key_replaced_under_its_name_is_fetched_once() {
    let idp = Idp::new().await;
    assert!(idp.judge(json!({})).await.is_ok());
    let next = es256();
    idp.publish(&json!([next.jwk("k1")]));
    let new = |signer: &Signer| {
        signer.token(
            header(&json!({"alg": signer.alg()})),
            idp.claims_with(&json!({"exp": 4_000_000_000_i64})).to_string(),
        )
    };
    assert!(idp.verify(&new(&next)).await.is_ok());
    assert_eq!(idp.key_fetches(), 2);
    assert_eq!(idp.fault(&new(&ES256)).await, TokenFault::Signature, "the old key is gone");

    // Bad signatures cause at most one fetch of the keys per minute.
    for _ in 0..20 {
        assert_eq!(idp.fault(&new(&es256())).await, TokenFault::Signature);
    }
    assert_eq!(idp.key_fetches(), 2);
    idp.clock.advance(Duration::seconds(60));
    for _ in 0..20 {
        assert_eq!(idp.fault(&new(&es256())).await, TokenFault::Signature);
    }
    assert_eq!(idp.key_fetches(), 3);

    // The new key may have another algorithm.
    idp.publish(&json!([EDDSA.jwk("k1")]));
    idp.clock.advance(Duration::seconds(60));
    assert!(idp.verify(&new(&EDDSA)).await.is_ok());
    assert_eq!(idp.key_fetches(), 4);

    // While the issuer is unreachable, Flexgate still uses the cached key.
    idp.answer_with(503);
    idp.clock.advance(Duration::seconds(60));
    assert_eq!(idp.fault(&new(&next)).await, TokenFault::KeyAlgorithm);
    assert!(idp.verify(&new(&EDDSA)).await.is_ok());
}

#[tokio::test]
async fn r26_bad_signatures_at_once_cause_one_fetch() {
    let idp = Idp::new().await;
    idp.verifier.prewarm(soon()).await;
    let next = es256();
    idp.publish(&json!([next.jwk("k1")]));
    *idp.served.delay.lock().unwrap() = std::time::Duration::from_millis(50);
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..50 {
        let signer = if n % 2 == 0 { &next } else { &*ES256 };
        let token = signer.token(header(&json!({})), idp.claims().to_string());
        let verifier = idp.verifier.clone();
        requests.spawn(async move { (n, verifier.verify_token(&token, soon()).await.is_ok()) });
    }
    for (n, accepted) in requests.join_all().await {
        assert!(accepted || n % 2 == 1, "a token of the new key");
    }
    assert_eq!(idp.key_fetches(), 2);
}

#[tokio::test]
async fn r27_keys_and_addresses_in_the_header_are_ignored() {
    let idp = Idp::new().await;
    let evil = format!("{}/evil", idp.origin);
    for (name, value) in [
        ("jku", json!(evil)),
        ("jku", json!(7)),
        ("x5u", json!(evil)),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("x")),
        ("jwk", es256().jwk("k1")),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("b64", json!(false)),
    ] {
        let token = ES256.token(header(&json!({ name: value })), idp.claims().to_string());
        assert!(idp.verify(&token).await.is_ok(), "{name}");
    }
    assert_eq!((idp.key_fetches(), idp.other_requests()), (1, 0));
}

#[tokio::test]
async fn r28_a_name_is_taken_from_what_is_there() {
    let idp = Idp::new().await;
    let name = async |changes: Value| idp.judge(changes).await.unwrap().full_name.map(|name| name.as_str().to_owned());
    let parts = json!({"name": null, "given_name": "Ada", "family_name": "Lovelace"});
    assert_eq!(name(parts).await.as_deref(), Some("Ada Lovelace"));
    for (given, family, joined) in [
        (json!(" Ada "), json!("King\t"), Some("Ada King")),
        (json!(null), json!("Lovelace"), Some("Lovelace")),
        (json!("Ada"), json!(""), Some("Ada")),
        (json!(7), json!([]), None),
    ] {
        for unusable in [json!(null), json!(""), json!("  "), json!(7), json!("a\u{202e}b"), json!("x".repeat(257))] {
            let changes = json!({"name": unusable, "given_name": given, "family_name": family});
            assert_eq!(name(changes).await.as_deref(), joined, "{unusable} {given} {family}");
        }
    }
    assert_eq!(name(json!({"name": "Ada Lovelace "})).await.as_deref(), Some("Ada Lovelace"));
    let persian = "\u{645}\u{6cc}\u{631}\u{632}\u{627}\u{200c}\u{6cc}\u{6cc}";
    assert_eq!(name(json!({ "name": persian })).await.as_deref(), Some(persian));
    let caller = idp.judge(json!({"email": " ada@example.com "})).await.unwrap();
    assert_eq!(caller.verified_email.unwrap().as_str(), "ada@example.com");
    // A username is never trimmed, because "ada " and "ada" may be two accounts.
    assert_eq!(idp.judge(json!({"preferred_username": "ada "})).await.unwrap().username, None);
    assert_eq!(idp.judge(json!({"preferred_username": "a\u{200d}da"})).await.unwrap().username, None);
}

#[tokio::test]
async fn r29_roles_are_read_in_any_case_and_from_lists_in_a_string() {
    let idp = Idp::with(json!({"roles_claim": "roles"})).await;
    let both: flexgate::domain::RoleSet = [Role::Agent, Role::Supervisor].into();
    for roles in [
        json!(["Supervisor", "AGENT"]),
        json!("agent,supervisor"),
        json!("agent, Supervisor"),
        json!("agent supervisor"),
        json!("agent;supervisor"),
        json!([" agent ", "supervisor"]),
        json!({"Agent": {}, "supervisor": {}}),
    ] {
        assert_eq!(idp.judge(json!({ "roles": roles })).await.unwrap().roles, both, "{roles}");
    }
    // An item of an array, or a key of an object, is always a single name. A string is split only if each part is a
    // role. Otherwise somebody could get a role by choosing a group name that contains a comma.
    for roles in [
        json!(["x,supervisor"]),
        json!({"x,supervisor": {}}),
        json!("supervisors"),
        json!("super visor"),
        json!("Former supervisor"),
        json!("x,supervisor"),
        json!("agent;lead"),
    ] {
        assert_eq!(idp.judge(json!({ "roles": roles })).await.unwrap().roles, [].into(), "{roles}");
    }
    let mapped =
        json!({"roles_claim": "roles", "role_map": {"Flex Agents": "agent", "CN=leads,OU=flex": "supervisor"}});
    let mapped = Idp::with(mapped).await;
    for (roles, expected) in [
        (json!("Flex Agents"), vec![Role::Agent]),
        (json!("CN=leads,OU=flex"), vec![Role::Supervisor]),
        (json!("staff, Flex Agents"), vec![]),
        (json!("Flex Agents,CN=leads,OU=flex"), vec![]),
        (json!("Flex Agents;Flex Agents"), vec![Role::Agent]),
        (json!(["Flex Agents", "CN=leads,OU=flex"]), vec![Role::Agent, Role::Supervisor]),
        // The keys of a role map are case-sensitive.
        (json!(["flex agents", "supervisor", "admin"]), vec![]),
    ] {
        let caller = mapped.judge(json!({ "roles": roles })).await.unwrap();
        assert_eq!(caller.roles, expected.into_iter().collect(), "{roles}");
    }
}

#[tokio::test]
async fn r30_a_key_of_small_order_verifies_nothing() {
    let order_eight = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    let other_eight = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    let bytes = |first, middle, last| {
        let mut y = [middle; 32];
        (y[0], y[31]) = (first, last);
        y
    };
    let neutral = bytes(1, 0, 0);
    // Three further y coordinates of points of small order. The last two are non-canonical encodings of 0 and 1.
    let [minus_one, p, p_plus_one] = [0xec, 0xed, 0xee].map(|first| bytes(first, 0xff, 0x7f));
    let points = [order_eight, other_eight, neutral, [0; 32], minus_one, p, p_plus_one];
    let with_sign_bit = points.map(|mut y: [u8; 32]| {
        y[31] |= 0x80;
        y
    });
    for x in points.into_iter().chain(with_sign_bit) {
        for kid in [json!("weak"), json!(null)] {
            let idp = Idp::new().await;
            idp.publish(&json!([ES256.jwk("k1"), {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(x)}]));
            let message =
                format!("{}.{}", b64(header(&json!({"alg": "EdDSA", "kid": "weak"}))), b64(idp.claims().to_string()));
            let signature = [&neutral[..], &[0; 32]].concat();
            let verdict = fault(idp.verify(&format!("{message}.{}", b64(signature))).await);
            assert_eq!(verdict, TokenFault::KeyUnknown, "{x:?} {kid}");
        }
    }
}

#[tokio::test]
async fn r29_a_groups_name_is_no_list_of_scopes() {
    let mapped = |claim: &str| json!({"scope_claim": claim, "scope_map": {"agents": "flexgate.token"}});
    for (claim, text, granted) in [
        ("groups", "Old agents", false),
        ("groups", "agents", true),
        ("groups", "agents agents", true),
        ("scope", "openid agents", true),
        ("scp", "openid agents", true),
    ] {
        let idp = Idp::with(mapped(claim)).await;
        let caller = idp.judge(json!({ claim: text })).await.unwrap();
        assert_eq!(caller.scopes.grant(flexgate::domain::Scope::Token), granted, "{claim} {text}");
    }
}

#[tokio::test]
async fn m24_another_spelling_of_the_email_claim_is_the_email_claim() {
    for (email_claim, username_claim) in [
        ("/user/email", "user.email"),
        ("user.email", "/user/email"),
        ("user.address", "/user/address"),
        ("email", "profile.email"),
        ("email", "https://x.example/email"),
    ] {
        let idp = Idp::with(json!({ "email_claim": email_claim, "username_claim": username_claim })).await;
        let claims = json!({
            "user": { "email": "boss@example.com", "address": "boss@example.com" },
            "profile": { "email": "boss@example.com" }, "https://x.example/email": "boss@example.com",
            "email_verified": false,
        });
        let caller = idp.judge(claims).await.unwrap();
        assert_eq!(caller.username, None, "{email_claim} {username_claim}");
    }
}
