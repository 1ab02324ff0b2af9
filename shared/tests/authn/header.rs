//! Attacks that Flexgate detects before it reads the claims: M1 to M3, M7, M12 and M13 of the attack register.

use flexgate::authn::{CallerError, MAX_TOKEN_BYTES, Part, TokenFault};
use flexgate::base::strict_json::StrictJsonError;
use serde_json::json;

use crate::issuer::*;

#[tokio::test]
async fn a_good_token_of_every_algorithm_is_accepted() {
    let idp = Idp::new().await;
    let signers = [&*RS256, &*PS256, &*ES256, &*ES384, &*EDDSA];
    idp.publish(&signers.map(|signer| signer.jwk(signer.alg())).into());
    for signer in signers {
        let token = signer.token(header(&json!({"alg": signer.alg(), "kid": signer.alg()})), idp.claims().to_string());
        let caller = idp.verify(&token).await.unwrap();
        assert_eq!((&*caller.identity.issuer, &*caller.identity.subject), (&*idp.issuer, "user-1"));
    }
    assert_eq!(idp.key_fetches(), 1);
}

#[tokio::test]
async fn m01_only_one_bearer_header_counts() {
    let idp = Idp::new().await;
    let token = idp.token(&json!({}));
    let bearer = format!("Bearer {token}");
    let verdict = async |values: &[&[u8]]| {
        idp.verifier.verify(&authorization(values).unwrap(), soon()).await.map(|caller| caller.identity.subject)
    };
    let cases: [&[&[u8]]; 7] = [
        &[],
        &[b"Basic YWRhOnNlY3JldA=="],
        &[token.as_bytes()],
        &[b"Bearer"],
        &[b"Bearer\xff x"],
        &[bearer.as_bytes(), bearer.as_bytes()],
        &[bearer.as_bytes(), b"Basic YWRhOnNlY3JldA=="],
    ];
    for values in cases {
        assert_eq!(verdict(values).await, Err(CallerError::Missing));
    }
    assert_eq!(verdict(&[b"Bearer "]).await, Err(CallerError::Invalid(TokenFault::Shape)));
    let joined = format!("{bearer}, {bearer}");
    assert_eq!(verdict(&[joined.as_bytes()]).await, Err(CallerError::Invalid(TokenFault::Shape)));
    assert_eq!(verdict(&[bearer.as_bytes()]).await.as_deref(), Ok("user-1"));
    assert_eq!(verdict(&[format!("bearer  {token}").as_bytes()]).await.as_deref(), Ok("user-1"));
}

#[tokio::test]
async fn m02_no_signature_is_no_token() {
    let idp = Idp::new().await;
    for alg in [json!("none"), json!("None"), json!("NONE"), json!(""), json!("es256"), json!("RS1")] {
        let token = ES256.token(header(&json!({"alg": alg})), idp.claims().to_string());
        assert_eq!(idp.fault(&token).await, TokenFault::Algorithm, "{alg}");
        let (signed, _) = token.rsplit_once('.').unwrap();
        assert_eq!(idp.fault(&format!("{signed}.")).await, TokenFault::Shape);
        assert_eq!(idp.fault(signed).await, TokenFault::Shape);
    }
    for alg in [json!(null), json!(0), json!(["ES256"])] {
        let token = ES256.token(header(&json!({"alg": alg})), idp.claims().to_string());
        assert_eq!(idp.fault(&token).await, TokenFault::Header("alg"), "{alg}");
    }
    let good = idp.token(&json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    assert_eq!(idp.fault(&format!("{signed}.")).await, TokenFault::Shape);
    // Some libraries accepted a signature of zeros for any ECDSA key (CVE-2022-21449).
    assert_eq!(idp.fault(&format!("{signed}.{}", b64([0; 64]))).await, TokenFault::Signature);
}

#[tokio::test]
async fn m03_a_public_key_is_no_secret() {
    let idp = Idp::new().await;
    let jwk = RS256.jwk("k1");
    idp.publish(&json!([jwk]));
    let Signer::Rs256(pair) = &*RS256 else { unreachable!() };
    let der = ring::signature::KeyPair::public_key(pair).as_ref().to_vec();
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der)
    );
    let modulus = jwk["n"].to_string().into_bytes();
    for secret in [der, pem.into_bytes(), modulus, jwk.to_string().into_bytes()] {
        for (alg, fault) in [("HS256", TokenFault::Algorithm), ("RS256", TokenFault::Signature)] {
            let message = format!("{}.{}", b64(header(&json!({"alg": alg}))), b64(idp.claims().to_string()));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
            let tag = ring::hmac::sign(&key, message.as_bytes());
            assert_eq!(idp.fault(&format!("{message}.{}", b64(tag))).await, fault);
        }
    }
}

#[tokio::test]
async fn m03_the_algorithm_is_the_keys_and_not_the_headers() {
    let idp = Idp::new().await;
    idp.publish(&json!([RS256.jwk("rsa"), ES256.jwk("ec")]));
    for (alg, kid) in [("PS256", "rsa"), ("ES256", "rsa"), ("ES384", "ec"), ("EdDSA", "ec")] {
        let token = RS256.token(header(&json!({"alg": alg, "kid": kid})), idp.claims().to_string());
        assert_eq!(idp.fault(&token).await, TokenFault::KeyAlgorithm, "{alg} {kid}");
    }
    let idp = Idp::new().await;
    idp.publish(&json!([RS256.jwk("rsa")]));
    let token = RS256.token(header(&json!({"alg": "PS256", "kid": null})), idp.claims().to_string());
    assert_eq!(idp.fault(&token).await, TokenFault::KeyAlgorithm);
}

#[tokio::test]
async fn m07_a_token_does_not_choose_its_key() {
    let idp = Idp::new().await;
    let attacker = es256();
    let (evil, jwk) = (format!("{}/evil", idp.origin), attacker.jwk("k1"));
    for (name, value) in [("jwk", jwk), ("jku", json!(evil)), ("x5u", json!(evil)), ("x5c", json!(["MIIB"]))] {
        let header = header(&json!({ name: value }));
        assert!(idp.verify(&ES256.token(&header, idp.claims().to_string())).await.is_ok(), "{name}");
        let forged = attacker.token(&header, idp.claims().to_string());
        assert_eq!(idp.fault(&forged).await, TokenFault::Signature, "{name}");
    }
    // Two fetches are expected: one for the first token, and one for the first bad signature.
    assert_eq!((idp.key_fetches(), idp.other_requests()), (2, 0));
}

#[tokio::test]
async fn m12_only_access_token_types_are_accepted() {
    let idp = Idp::new().await;
    let token = |typ| ES256.token(header(&json!({ "typ": typ })), idp.claims().to_string());
    for typ in ["logout+jwt", "secevent+jwt", "dpop+jwt", "application/logout+jwt", "JWT ", "", "JOSE"] {
        assert_eq!(idp.fault(&token(json!(typ))).await, TokenFault::Type, "{typ}");
    }
    assert_eq!(idp.fault(&token(json!(["JWT"]))).await, TokenFault::Header("typ"));
    for typ in [json!("at+jwt"), json!("application/at+jwt"), json!("AT+JWT"), json!("JWT"), json!("jwt"), json!(null)]
    {
        assert!(idp.verify(&token(typ.clone())).await.is_ok(), "{typ}");
    }
}

#[tokio::test]
async fn m12_an_issuer_may_be_held_to_one_type() {
    let idp = Idp::with(json!({"token_types": ["at+jwt"]})).await;
    for (typ, accepted) in [(json!("at+jwt"), true), (json!("JWT"), false), (json!(null), false)] {
        let token = ES256.token(header(&json!({ "typ": typ })), idp.claims().to_string());
        assert_eq!(idp.verify(&token).await.is_ok(), accepted, "{typ}");
    }
}

#[tokio::test]
async fn m13_an_extension_is_refused() {
    let idp = Idp::new().await;
    for crit in [r#"["b64"]"#, r#"["exp"]"#, "[]", "null"] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1","crit":{crit}}}"#);
        assert_eq!(idp.fault(&ES256.token(header, idp.claims().to_string())).await, TokenFault::Critical);
    }
}

#[tokio::test]
async fn m13_what_is_said_twice_is_not_said() {
    let idp = Idp::new().await;
    let claims = idp.claims().to_string();
    let twice = format!(r#"{},"sub":"admin"}}"#, claims.strip_suffix('}').unwrap());
    for (token, expected) in [
        (ES256.token(r#"{"alg":"ES256","kid":"k1","alg":"ES256"}"#, &claims), Part::Header),
        (ES256.token(header(&json!({})), &twice), Part::Claims),
        (ES256.token(header(&json!({})), twice.replace(r#""sub":"admin""#, r#""x":{"a":1,"a":2}"#)), Part::Claims),
    ] {
        let fault = idp.fault(&token).await;
        let TokenFault::Json { part, error: StrictJsonError::Duplicate { .. } } = fault else { panic!("{fault:?}") };
        assert_eq!(part, expected);
    }
    for claims in ["[]", "\"sub\"", "null"] {
        let fault = idp.fault(&ES256.token(header(&json!({})), claims)).await;
        assert_eq!(fault, TokenFault::NotAnObject(Part::Claims));
    }
    for claims in ["", "{", "{} {}", "\u{feff}{}"] {
        let token = ES256.token(header(&json!({})), format!(" {claims}"));
        assert!(matches!(idp.fault(&token).await, TokenFault::Json { part: Part::Claims, .. }), "{claims}");
    }
}

#[tokio::test]
async fn m13_a_token_has_one_spelling() {
    let idp = Idp::new().await;
    let good = idp.token(&json!({}));
    for token in [
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.e30"),
        "..".into(),
        "a.b".into(),
        "a..b".into(),
        ".".into(),
    ] {
        assert_eq!(idp.fault(&token).await, TokenFault::Shape, "{token}");
    }
    for token in
        [format!("{good}="), format!("{good}=="), format!("{good} "), format!("{good}\n"), good.replace('_', "/")]
    {
        if token != good {
            let fault = idp.fault(&token).await;
            assert!(matches!(fault, TokenFault::Encoding(_)), "{token}: {fault:?}");
        }
    }
    // A signature of 64 bytes has 86 base64url characters. The last four bits of the last character must be zero.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = good.split_at(good.len() - 1);
    let at = alphabet.find(last).unwrap();
    for other in &alphabet[at + 1..at + 16].chars().collect::<Vec<_>>() {
        assert_eq!(idp.fault(&format!("{rest}{other}")).await, TokenFault::Encoding(Part::Signature));
    }
}

#[tokio::test]
async fn m13_a_token_too_large_is_not_looked_at() {
    let idp = Idp::new().await;
    for token in ["x".repeat(9 * 1024), idp.token(&json!({"pad": "x".repeat(9 * 1024)}))] {
        assert_eq!(idp.verify(&token).await.unwrap_err(), CallerError::TooLarge);
    }
    let about = (MAX_TOKEN_BYTES - idp.token(&json!({"pad": ""})).len()) * 3 / 4;
    let mut verdicts = Vec::new();
    for pad in about - 4..about + 4 {
        let token = idp.token(&json!({"pad": "x".repeat(pad)}));
        let accepted = idp.verify(&token).await.is_ok();
        assert_eq!(accepted, token.len() <= MAX_TOKEN_BYTES, "{}", token.len());
        verdicts.push(accepted);
    }
    assert!(verdicts.contains(&true) && verdicts.contains(&false));
}
