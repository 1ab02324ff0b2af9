//! Callers who are not who they claim to be: M1 to M3, M7 to M14, M24.

use serde_json::{Value, json};

use crate::forger::{Forger, b64};
use crate::gate::{Gate, Minted as _};

const REFUSED: (u16, &str) = (401, "token_invalid");

async fn assert_refused(gate: &Gate, cases: impl IntoIterator<Item = Value>) {
    for changes in cases {
        let token = gate.token_of("ada", changes.clone()).await;
        let answer = gate.mint(&token, json!({})).await;
        assert_eq!(answer.status, 401, "{changes}");
        answer.assert_problem(REFUSED.0, REFUSED.1);
    }
    assert!(gate.world.calls("flex-api").await.iter().all(|line| !line.contains("Tokens")));
}

#[tokio::test]
async fn m01_only_one_bearer_header_counts() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let token = gate.token_of("ada", json!({})).await;
    let bearer = format!("Bearer {token}");
    let cases: [&[&str]; 7] = [
        &[],
        &["Basic YWRhOnNlY3JldA=="],
        &[&token],
        &["Bearer"],
        &["Bearer "],
        &[&bearer, &bearer],
        &[&bearer, "Basic YWRhOnNlY3JldA=="],
    ];
    for headers in cases {
        gate.send(headers, "{}".into()).await.assert_problem(REFUSED.0, REFUSED.1);
    }
    // A stranger learns nothing about the fields.
    gate.send(&[], r#"{"ttl": -1}"#.into()).await.assert_problem(REFUSED.0, REFUSED.1);
    gate.send(&[&bearer], "{}".into()).await.assert_minted(&ada);
    gate.send(&[&format!("bearer {token}")], String::new()).await.assert_minted(&ada);
}

#[tokio::test]
async fn m02_no_signature_is_no_token() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    assert_refused(&gate, ["none", "None", "NONE", ""].map(|alg| json!({"header": {"alg": alg}}))).await;
    let good = gate.token_of("ada", json!({})).await;
    let (signed, _) = good.rsplit_once('.').unwrap();
    let none = format!("{}.{}.", b64(r#"{"alg":"none"}"#), good.split('.').nth(1).unwrap());
    for token in [format!("{signed}."), signed.to_owned(), none] {
        gate.mint(&token, json!({})).await.assert_problem(REFUSED.0, REFUSED.1);
    }
}

#[tokio::test]
async fn m03_a_public_key_is_no_secret() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let jwks = gate.world.ask(http::Method::GET, "/idp/jwks", &Value::Null).await;
    let modulus = jwks["keys"][0]["n"].as_str().unwrap();
    let kid = &jwks["keys"][0]["kid"];
    let keys = [json!("public-pem-as-hmac"), json!({"hmac": modulus}), json!({"hmac": jwks["keys"][0].to_string()})];
    assert_refused(&gate, keys.clone().map(|key| json!({"key": key, "header": {"kid": kid}}))).await;
    assert_refused(&gate, keys.map(|key| json!({"key": key, "header": {"kid": kid, "alg": "RS256"}}))).await;
}

#[tokio::test]
async fn m07_a_token_does_not_choose_its_key() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    gate.mint_as("grace").await;
    gate.world.forget_calls().await;
    let evil = format!("{}/idp/evil", gate.world.simulator.url());
    let forger = Forger::published(&gate, 0).await;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "forged"});
    for (name, value) in [("jwk", jwk), ("jku", json!(evil)), ("x5u", json!(evil)), ("x5c", json!(["MIIB"]))] {
        let mut header = Forger::header();
        header[name] = value.clone();
        let token = forger.sign(header.to_string(), forger.claims().to_string());
        gate.mint(&token, json!({})).await.assert_problem(REFUSED.0, REFUSED.1);
        assert_refused(&gate, [json!({"header": { name: value }})]).await;
    }
    assert_eq!(gate.world.calls("idp").await, [""; 0], "no outbound call");
}

#[tokio::test]
async fn m08_a_token_for_another_audience_is_refused() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let refused =
        [json!(null), json!("other"), json!(["other", "another"]), json!("flexgate2"), json!("flex"), json!([])];
    assert_refused(&gate, refused.map(|aud| json!({ "aud": aud }))).await;
    let token = gate.token_of("ada", json!({"aud": ["other", "flexgate"]})).await;
    gate.mint(&token, json!({})).await.assert_minted(&ada);
}

#[tokio::test]
async fn m09_an_issuer_is_what_it_is_called_to_the_byte() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let issuer = gate.world.simulator.issuer();
    let others = [
        json!(null),
        json!(format!("{issuer}/")),
        json!(issuer.to_uppercase()),
        json!(format!("{issuer}/tenant-2")),
        json!("https://login.example.com"),
        json!([issuer]),
    ];
    assert_refused(&gate, others.map(|iss| json!({ "iss": iss }))).await;
}

#[tokio::test]
async fn m10_a_token_without_a_sound_expiry_is_refused() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let now = flexgate::base::clock_rng::Clock::now(&*gate.world.clock).unix_timestamp();
    let unsound = [
        json!(null),
        json!(now - 31),
        json!((now + 3600).to_string()),
        json!(1e300),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!([now + 3600]),
    ];
    assert_refused(&gate, unsound.map(|exp| json!({ "exp": exp }))).await;
    // Within the leeway the token is still valid, but too old to mint with.
    let token = gate.token_of("ada", json!({"exp": now - 5})).await;
    gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
}

#[tokio::test]
async fn m11_a_token_from_the_future_is_refused() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let ahead = flexgate::base::clock_rng::Clock::now(&*gate.world.clock).unix_timestamp() + 600;
    assert_refused(&gate, [json!({"nbf": ahead}), json!({"iat": ahead}), json!({"nbf": ahead.to_string()})]).await;
}

#[tokio::test]
async fn m12_what_is_no_access_token_is_refused() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    let typed = ["logout+jwt", "secevent+jwt", "dpop+jwt"].map(|typ| json!({"header": {"typ": typ}}));
    assert_refused(&gate, typed).await;
    let id_token = json!({"header": {"typ": "JWT"}, "nonce": "n"});
    let logout = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
    assert_refused(&gate, [id_token, logout, json!({"cnf": {"jkt": "x"}})]).await;
}

#[tokio::test]
async fn m13_a_token_has_one_spelling() {
    let gate = Gate::start().await;
    let ada = gate.world.at_twilio("ada", &["agent"]).await;
    let forger = Forger::published(&gate, 0).await;
    let (header, claims) = (Forger::header().to_string(), forger.claims().to_string());
    let good = forger.sign(&header, &claims);
    gate.mint(&good, json!({})).await.assert_minted(&ada);

    let with = |object: &str, member: &str| format!("{},{member}}}", object.strip_suffix('}').unwrap());
    let twice = [
        forger.sign(with(&header, r#""alg":"EdDSA""#), &claims),
        forger.sign(&header, with(&claims, r#""sub":"sub-grace""#)),
        forger.sign(&header, with(&claims, r#""x":{"a":1,"a":2}"#)),
    ];
    let critical = [r#""crit":["exp"]"#, r#""crit":[]"#].map(|crit| forger.sign(with(&header, crit), &claims));
    let misspelt = [format!("{good}."), format!("{good}.e30"), format!("{good}="), format!("{good}=="), "a.b".into()];
    for token in twice.iter().chain(&critical).chain(&misspelt) {
        gate.mint(token, json!({})).await.assert_problem(REFUSED.0, REFUSED.1);
    }
    let large = gate.token_of("ada", json!({"pad": "x".repeat(9 * 1024)})).await;
    gate.mint(&large, json!({})).await.assert_problem(413, "too_large");
}

#[tokio::test]
async fn m14_without_the_scope_nobody_mints() {
    let gate = Gate::start().await;
    gate.world.at_twilio("ada", &["agent"]).await;
    for scope in
        [json!(null), json!(""), json!("openid profile"), json!("flexgate.users.write"), json!("flexgate.tokens")]
    {
        let token = gate.token_of("ada", json!({ "scope": scope })).await;
        gate.mint(&token, json!({})).await.assert_problem(403, "scope_missing");
    }
}

#[tokio::test]
async fn m24_an_email_address_names_nobody() {
    // Identified by e-mail address alone: the claims have no username, and the address is a Flex user's username.
    let gate = Gate::start().await;
    gate.world.at_twilio("ada@example.com", &["agent"]).await;
    let token = gate.token_of("ada", json!({"preferred_username": null})).await;
    gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");

    // Where the address is configured to be the username, it must have been verified.
    let issuers = r#"[{"issuer": "{issuer}", "audiences": ["flexgate"], "username_template": "{email}"}]"#;
    let gate = Gate::with(&[("FLEXGATE_ISSUERS", issuers)]).await;
    let ada = gate.world.at_twilio("ada@example.com", &["agent"]).await;
    for unverified in [json!(false), json!(null), json!("true")] {
        let token = gate.token_of("mallory", json!({"email": "ada@example.com", "email_verified": unverified})).await;
        gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
    }
    gate.mint_as("ada").await.assert_minted(&ada);
}

#[tokio::test]
async fn a_username_may_be_put_together_from_claims() {
    let issuers = r#"[{"issuer": "{issuer}", "audiences": ["flexgate"], "username_template": "{tid}.{oid}"}]"#;
    let gate = Gate::with(&[("FLEXGATE_ISSUERS", issuers)]).await;
    let sid = gate.world.at_twilio("tenant-1.user-2", &["agent"]).await;
    let token = gate.token_of("ada", json!({"tid": "tenant-1", "oid": "user-2"})).await;
    gate.mint(&token, json!({})).await.assert_minted(&sid);
    let token = gate.token_of("eve", json!({"tid": "tenant", "oid": "1.user-2"})).await;
    gate.mint(&token, json!({})).await.assert_problem(403, "mint_refused");
}
