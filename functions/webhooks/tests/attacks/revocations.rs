//! Tests forged, wrong and repeated requests to end a person's sessions (attacks G13 to G15 of the attack register).

use time::Duration;

use super::signals::REVOKES;
use super::*;

impl Hooks {
    /// Returns a token that authorises one request. `changes` adds, replaces or removes claims.
    pub async fn revocation(&self, changes: &Value) -> String {
        let mut claims = json!({ "header": { "typ": "global-token-revocation+jwt" }, "aud": REVOKES,
                                 "sub": null, "iat": self.now(), "exp": self.now() + 300 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.world.token(&claims).await
    }

    pub async fn revoke(&self, token: &str, subject: &Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let body = json!({ "sub_id": subject }).to_string();
        self.post("logout", &[JSON, ("authorization", &bearer)], body).await
    }
}

#[tokio::test]
async fn a_request_ends_the_sessions_and_not_the_access() {
    let hooks = Hooks::with_signals().await;
    let old = hooks.begin("old", 60).await;
    let reply = hooks.revoke(&hooks.revocation(&json!({})).await, &hooks.ada()).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (204, ""));
    hooks.settle().await;
    assert!(!hooks.lasts(&old).await);
    assert_eq!(hooks.user("ada").await["deactivated"], false);
    hooks.world.advance(Duration::seconds(1)).await;
    let new = hooks.begin("new", 0).await;
    hooks.settle().await;
    assert!(hooks.lasts(&new).await);
}

#[tokio::test]
async fn g13_a_token_that_is_no_revocation_for_this_address_is_refused() {
    let hooks = Hooks::with_signals().await;
    let header = |typ: Value| json!({ "header": { "typ": typ } });
    for changes in [
        json!({ "aud": "https://flexgate.example/webhooks/other" }),
        json!({ "aud": null }),
        json!({ "iss": "https://other.example" }),
        json!({ "exp": null }),
        json!({ "exp": hooks.now() - 61, "iat": hooks.now() - 400 }),
        json!({ "iat": null }),
        json!({ "iat": hooks.now() + 61 }),
        json!({ "jti": null }),
        json!({ "nbf": hooks.now() + 61 }),
        json!({ "key": "unknown" }),
        json!({ "key": "public-pem-as-hmac" }),
        header(json!("JWT")),
        header(json!("secevent+jwt")),
        header(json!("at+jwt")),
        header(json!(null)),
        json!({ "header": { "typ": "global-token-revocation+jwt", "alg": "none" } }),
    ] {
        let reply = hooks.revoke(&hooks.revocation(&changes).await, &hooks.ada()).await;
        assert_eq!(reply.problem(), (401, "token_invalid".to_owned()), "{changes}");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let body = json!({ "sub_id": hooks.ada() }).to_string();
    let bearer = format!("Bearer {}", hooks.revocation(&json!({})).await);
    for headers in [
        &[JSON][..],
        &[JSON, ("authorization", "Bearer")],
        &[JSON, ("authorization", SECRET)],
        &[JSON, ("authorization", &bearer), ("authorization", &bearer)],
    ] {
        assert_eq!(hooks.post("logout", headers, body.clone()).await.problem(), (401, "token_invalid".to_owned()));
    }
    hooks.nothing_queued().await;
}

#[tokio::test]
async fn g14_a_token_works_once_and_again_only_for_the_same_person() {
    let hooks = Hooks::with_signals().await;
    let at = (hooks.now() - 3600) * 1000;
    hooks.standard("msg_eve", &clerk("user.created", "eve", at)).await;
    hooks.settle().await;
    let token = hooks.revocation(&json!({})).await;
    let eve = json!({ "format": "iss_sub", "iss": hooks.issuer(), "sub": "user_eve" });
    assert_eq!(hooks.revoke(&token, &hooks.ada()).await.status, 204);
    // The transmitter may repeat the request, because the answer may have been lost.
    assert_eq!(hooks.revoke(&token, &hooks.ada()).await.status, 204);
    for _ in 0..3 {
        assert_eq!(hooks.revoke(&token, &eve).await.problem(), (401, "token_invalid".to_owned()));
    }
    assert_eq!(hooks.revoke(&token, &hooks.ada()).await.status, 204);
    assert_eq!(hooks.revoke(&hooks.revocation(&json!({})).await, &eve).await.status, 204);
}

#[tokio::test]
async fn g14_a_token_is_not_used_up_by_a_request_that_failed() {
    let hooks = Hooks::with_signals().await;
    let eve = json!({ "format": "iss_sub", "iss": hooks.issuer(), "sub": "user_eve" });
    for (table, writes) in [("claims", 0), ("claims", 1), ("claims", 2), ("events", 0)] {
        let session = hooks.begin(&format!("{table} {writes}"), 60).await;
        let token = hooks.revocation(&json!({})).await;
        // The store fails after this many writes to the table.
        hooks.world.sql(&format!(
            "DELETE FROM {table}; CREATE TRIGGER fails BEFORE INSERT ON {table}
             WHEN (SELECT count(*) FROM {table}) >= {writes} BEGIN SELECT RAISE(ABORT, 'the store fails'); END;"
        ));
        let status = hooks.revoke(&token, &hooks.ada()).await.status.as_u16();
        assert!(status == 503 || (status == 204 && writes > 0), "{table} {writes}: {status}");
        hooks.world.sql("DROP TRIGGER fails;");
        for _ in 0..2 {
            assert_eq!(hooks.revoke(&token, &hooks.ada()).await.status, 204, "{table} {writes}");
            assert_eq!(hooks.revoke(&token, &eve).await.problem(), (401, "token_invalid".to_owned()));
        }
        hooks.settle().await;
        assert!(!hooks.lasts(&session).await, "{table} {writes}");
    }
}

#[tokio::test]
async fn g14_of_many_uses_of_a_token_at_once_those_for_one_person_are_accepted() {
    let hooks = Hooks::with_signals().await;
    let token = hooks.revocation(&json!({})).await;
    let eve = json!({ "format": "iss_sub", "iss": hooks.issuer(), "sub": "user_eve" });
    let ada = hooks.ada();
    let one = async |subject| hooks.revoke(&token, subject).await.status.as_u16();
    let (for_ada, for_eve) = tokio::join!(async { tokio::join!(one(&ada), one(&ada), one(&ada)) }, async {
        tokio::join!(one(&eve), one(&eve), one(&eve))
    },);
    // The first request uses up the token, either for ada or for eve. Flexgate then refuses the token for the other
    // one. Flexgate does not know eve, so the answers for her are 404 if she is first.
    let all = |status| (status, status, status);
    let expected = [(all(204), all(401)), (all(401), all(404))];
    assert!(expected.contains(&(for_ada, for_eve)), "{for_ada:?} {for_eve:?}");
}

#[tokio::test]
async fn g14_an_id_that_looks_like_an_address_is_another_person() {
    let hooks = Hooks::with_signals().await;
    let token = hooks.revocation(&json!({})).await;
    let address = json!({ "format": "email", "email": "user_ada" });
    let by_id = hooks.ada();
    assert_eq!(hooks.revoke(&token, &by_id).await.status, 204);
    assert_eq!(hooks.revoke(&token, &address).await.problem(), (401, "token_invalid".to_owned()));
}

#[tokio::test]
async fn g14_a_used_token_without_a_recorded_person_is_refused() {
    let hooks = Hooks::with_signals().await;
    let token = hooks.revocation(&json!({})).await;
    assert_eq!(hooks.revoke(&token, &hooks.ada()).await.status, 204);
    hooks.world.sql("UPDATE claims SET holder = NULL;");
    let eve = json!({ "format": "email", "email": "eve@example.com" });
    for subject in [hooks.ada(), eve] {
        assert_eq!(hooks.revoke(&token, &subject).await.problem(), (401, "token_invalid".to_owned()));
    }
}

#[tokio::test]
async fn g15_unknown_foreign_and_unsupported_subjects_get_an_answer_of_their_own() {
    let hooks = Hooks::with_signals().await;
    for (subject, problem) in [
        (json!({ "format": "iss_sub", "iss": hooks.issuer(), "sub": "nobody" }), (404, "subject_unknown")),
        (json!({ "format": "email", "email": "nobody@example.com" }), (404, "subject_unknown")),
        (json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "user_ada" }), (403, "subject_forbidden")),
        (json!({ "format": "phone_number", "phone_number": "+12065550100" }), (422, "subject_unsupported")),
        (json!({ "format": "iss_sub", "sub": "user_ada" }), (400, "body_malformed")),
        (json!("user_ada"), (400, "body_malformed")),
        (json!(null), (400, "body_malformed")),
    ] {
        let reply = hooks.revoke(&hooks.revocation(&json!({})).await, &subject).await;
        assert_eq!(reply.problem(), (problem.0, problem.1.to_owned()), "{subject}");
        assert!(!reply.text.contains("example.com"), "{}", reply.text);
    }
    let bearer = format!("Bearer {}", hooks.revocation(&json!({})).await);
    for (kind, body, status) in [
        ("application/json", vec![b'a'; 1 << 20], 413),
        ("application/json", b"{".to_vec(), 400),
        ("application/json", "[".repeat(200).into_bytes(), 400),
        ("text/plain", b"{}".to_vec(), 415),
    ] {
        let reply = hooks.post("logout", &[("content-type", kind), ("authorization", &bearer)], body).await;
        assert_eq!(reply.status.as_u16(), status, "{kind}");
    }
    // Flexgate does not know this person, but records the end of the sessions under the username.
    hooks.settle().await;
    let key =
        flexgate::store::EndingKey::Username("nobody@example.com".parse::<flexgate::domain::Username>().unwrap().key());
    assert!(hooks.platform.session_endings().ended_until(&[key]).await.unwrap().0.is_some());
    assert_eq!(hooks.dead().await.len(), 0);
}
