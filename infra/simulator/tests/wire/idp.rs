//! Tests the identity provider: discovery, keys, the OAuth flows and the `__dev` endpoints.

use crate::common::{between, parameter, part, s256, send, sim};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flexgate_simulator::*;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Value, json};

#[tokio::test]
async fn discovery_points_at_what_is_there() {
    let sim = sim().await;
    let (_, document) = sim.send(sim.http.get(sim.at("/idp/.well-known/openid-configuration"))).await;
    assert_eq!(document["issuer"], sim.simulator.issuer());
    let response = send(sim.http.get(document["jwks_uri"].as_str().unwrap())).await.unwrap();
    assert!(response.headers()["cache-control"].to_str().unwrap().contains("max-age="));
    let keys: Value = response.json().await.unwrap();
    let kinds: Vec<&str> = keys["keys"].as_array().unwrap().iter().map(|key| key["kty"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["RSA", "EC", "OKP"]);
}

#[tokio::test]
async fn a_service_gets_the_scopes_it_may_have_and_no_others() {
    let sim = sim().await;
    let token = |id: &'static str, secret: &'static str, scope: &'static str| {
        let request = sim.http.post(sim.at("/idp/token")).basic_auth(id, Some(secret));
        sim.send(request.form(&[("grant_type", "client_credentials"), ("scope", scope)]))
    };
    let (status, granted) =
        token(SERVICE_CLIENT_ID, SERVICE_CLIENT_SECRET, "flexgate.token.any flexgate.users.read").await;
    assert_eq!(status, 200, "{granted}");
    let jwt = granted["access_token"].as_str().unwrap();
    assert_eq!((&part(jwt, 0)["typ"], &part(jwt, 0)["alg"]), (&json!("at+jwt"), &json!("RS256")));
    let claims = part(jwt, 1);
    assert_eq!((&claims["aud"], &claims["client_id"]), (&json!(AUDIENCE), &json!(SERVICE_CLIENT_ID)));
    assert_eq!(claims["scope"], "flexgate.token.any flexgate.users.read");
    assert_eq!(token(READER_CLIENT_ID, READER_CLIENT_SECRET, "flexgate.users.write").await.1["error"], "invalid_scope");
    assert_eq!(token(READER_CLIENT_ID, "wrong", "flexgate.users.read").await.0, 401);
}

#[tokio::test]
async fn a_page_signs_a_person_in_with_pkce() {
    let sim = sim().await;
    let verifier = "page-verifier-page-verifier-page-verifier-0";
    let redirect = "http://localhost:5173/callback";
    let challenge = s256(verifier);
    let url = reqwest::Url::parse_with_params(
        &sim.at("/idp/authorize"),
        [
            ("response_type", "code"),
            ("client_id", PAGE_CLIENT_ID),
            ("redirect_uri", redirect),
            ("scope", "openid profile flexgate.token flexgate.users.write"),
            ("state", "s"),
            ("nonce", "n"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ],
    )
    .unwrap();
    let page = send(sim.http.get(url)).await.unwrap().text().await.unwrap();
    assert!(!page.contains("<script"));
    let form = [("request", between(&page, "name=\"request\" value=\"", "\"")), ("username", "grace".to_owned())];
    let decided = send(sim.http.post(sim.at("/idp/authorize/decision")).form(&form)).await.unwrap();
    let end = decided.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(
        (parameter(&end, "state").as_deref(), parameter(&end, "iss")),
        (Some("s"), Some(sim.simulator.issuer()))
    );
    let code = parameter(&end, "code").unwrap();
    let redeem = |verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", redirect),
            ("client_id", PAGE_CLIENT_ID),
            ("code_verifier", verifier),
        ];
        sim.send(sim.http.post(sim.at("/idp/token")).form(&form))
    };
    let (status, tokens) = redeem(verifier).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["scope"], "openid profile flexgate.token");
    let id_token = part(tokens["id_token"].as_str().unwrap(), 1);
    assert_eq!((&id_token["aud"], &id_token["nonce"]), (&json!(PAGE_CLIENT_ID), &json!("n")));
    let access = part(tokens["access_token"].as_str().unwrap(), 1);
    assert_eq!((&access["preferred_username"], &access["roles"]), (&json!("grace"), &json!(["supervisor"])));
    assert_eq!(redeem(verifier).await.0, 400);

    let request = sim.http.get(sim.at("/idp/userinfo")).bearer_auth(tokens["access_token"].as_str().unwrap());
    let (status, person) = sim.send(request).await;
    assert_eq!((status.as_u16(), &person["email"]), (200, &json!("grace@example.com")));
}

#[tokio::test]
async fn a_stranger_gets_the_page_again_and_a_bad_client_never_leaves() {
    let sim = sim().await;
    let at_idp = sim.follow(&sim.authorize_url(&crate::common::plain_state())).await;
    let page = send(sim.http.get(&at_idp)).await.unwrap().text().await.unwrap();
    let form = [("request", between(&page, "name=\"request\" value=\"", "\"")), ("username", "<script>".to_owned())];
    let again = send(sim.http.post(sim.at("/idp/authorize/decision")).form(&form)).await.unwrap();
    assert_eq!(again.status(), 401);
    assert!(again.text().await.unwrap().contains("&lt;script&gt;"));
    for query in [
        "client_id=unknown&redirect_uri=http://localhost/",
        "client_id=agent-desktop&redirect_uri=https://evil.example/",
        "client_id=twilio-flex&redirect_uri=https://evil.example/v1/Flex/SSO/Callback",
        "client_id=demo-service&redirect_uri=http://localhost/",
    ] {
        let answer = send(sim.http.get(sim.at(&format!("/idp/authorize?response_type=code&{query}")))).await.unwrap();
        assert_eq!(answer.status(), 400, "{query}");
    }
}

#[tokio::test]
async fn the_workbench_makes_any_token() {
    let sim = sim().await;
    let sim = &sim;
    let make = |body: Value| async move { sim.send(sim.http.post(sim.at("/idp/__dev/token")).json(&body)).await };
    let token = |answer: (reqwest::StatusCode, Value)| answer.1["token"].as_str().unwrap().to_owned();

    let plain = token(make(json!({ "sub": "x", "aud": null, "extra": [1] })).await);
    let claims = part(&plain, 1);
    assert_eq!((&claims["sub"], claims.get("aud"), &claims["extra"]), (&json!("x"), None, &json!([1])));
    assert_eq!(claims["iss"], sim.simulator.issuer());

    let none = token(make(json!({ "header": { "alg": "none", "kid": null } })).await);
    assert!(none.ends_with('.'));
    assert_eq!(part(&none, 0), json!({ "alg": "none", "typ": "at+jwt" }));
    assert_eq!(part(&token(make(json!({ "key": "ec" })).await), 0)["alg"], "ES256");
    assert_eq!(part(&token(make(json!({ "key": "ed25519" })).await), 0)["alg"], "EdDSA");
    assert_eq!(part(&token(make(json!({ "key": "public-pem-as-hmac" })).await), 0)["alg"], "HS256");
    assert_eq!(part(&token(make(json!({ "key": { "hmac": "secret" } })).await), 0)["alg"], "HS256");
    assert_eq!(make(json!({ "key": "previous" })).await.0, 400);
    assert_eq!(make(json!({ "key": "nonsense" })).await.0, 400);

    let before = part(&plain, 0)["kid"].clone();
    let unknown = part(&token(make(json!({ "key": "unknown" })).await), 0)["kid"].clone();
    let (_, rotated) = sim.send(sim.http.post(sim.at("/idp/__dev/rotate-keys"))).await;
    let published: Vec<&Value> = rotated["jwks"]["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
    assert!(published.contains(&&before) && !published.contains(&&unknown));
    assert_ne!(rotated["kid"], before);
    assert_eq!(part(&token(make(json!({ "key": "previous" })).await), 0)["kid"], before);
    let (_, rotated) =
        sim.send(sim.http.post(sim.at("/idp/__dev/rotate-keys")).json(&json!({ "keep_previous": false }))).await;
    assert_eq!(rotated["jwks"]["keys"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn every_published_key_verifies_what_it_signed() {
    let sim = sim().await;
    let (_, jwks) = sim.send(sim.http.get(sim.at("/idp/jwks"))).await;
    for key in ["current", "ec", "ed25519"] {
        let (_, made) = sim.send(sim.http.post(sim.at("/idp/__dev/token")).json(&json!({ "key": key }))).await;
        let token = made["token"].as_str().unwrap();
        let header = part(token, 0);
        let jwk = jwks["keys"].as_array().unwrap().iter().find(|jwk| jwk["kid"] == header["kid"]).unwrap();
        assert_eq!(jwk["alg"], header["alg"]);
        let bytes = |member: &str| URL_SAFE_NO_PAD.decode(jwk[member].as_str().unwrap()).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (signed, signature) = (signed.as_bytes(), URL_SAFE_NO_PAD.decode(signature).unwrap());
        let verified = match header["alg"].as_str().unwrap() {
            "RS256" => RsaPublicKeyComponents { n: bytes("n"), e: bytes("e") }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                signed,
                &signature,
            ),
            "ES256" => {
                let point = [vec![4], bytes("x"), bytes("y")].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, &signature)
            }
            _ => UnparsedPublicKey::new(&ED25519, bytes("x")).verify(signed, &signature),
        };
        assert!(verified.is_ok(), "{key}");
        assert_eq!(part(token, 1)["aud"], AUDIENCE);
    }
}
