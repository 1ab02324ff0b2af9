//! Tests which events Flexgate reads from each vendor's documented payloads.

use flexgate::domain::{Action, IdentityEvent};
use flexgate::store::{Lane, Message};

use super::*;

impl Hooks {
    /// Takes a delivery's events out of the queue and returns them.
    pub(crate) async fn queued(&self, reply: Reply) -> Vec<IdentityEvent> {
        assert_eq!(reply.status, 202, "{}", reply.text);
        let now = self.world.clock_rng().now();
        let taken = self.inbox().take(Lane::Events, 50, now, now + time::Duration::minutes(1)).await.unwrap();
        let read = |taken: flexgate::store::Taken| match serde_json::from_str(&taken.body).unwrap() {
            Message::Event(event) => event,
            other => unreachable!("{other:?}"),
        };
        taken.into_iter().map(read).collect()
    }

    pub(crate) async fn stamped(&self, source: &str, header: &str, unit: i64, body: &Value) -> Reply {
        let (time, body) = ((self.now() * unit).to_string(), body.to_string());
        let mac = hex(&hmac_sha256(SECRET.as_bytes(), format!("{time}.{body}").as_bytes()));
        self.post(source, &[JSON, (header, &format!("t={time},v1={mac}"))], body).await
    }

    pub(crate) async fn fusionauth(&self, body: &Value) -> Reply {
        let b64 = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let body = body.to_string();
        let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, body.as_bytes()));
        let claims = json!({ "request_body_sha256": hash }).to_string();
        let signed = format!("{}.{}", b64(br#"{"alg":"HS256"}"#), b64(claims.as_bytes()));
        let token = format!("{signed}.{}", b64(&hmac_sha256(SECRET.as_bytes(), signed.as_bytes())));
        self.post("fusionauth", &[JSON, ("x-fusionauth-signature-jwt", &token)], body).await
    }
}

/// Returns the event's action, subject and profile fields.
fn facts(event: &IdentityEvent) -> (Action, &str, Value) {
    let profile = &event.profile;
    let said = json!([profile.username, profile.email, profile.full_name, profile.unverified_roles]);
    (event.action, event.subject.id.as_str(), said)
}

#[tokio::test]
async fn clerk() {
    let hooks = Hooks::start().await;
    let events = hooks.queued(hooks.standard("1", &super::clerk("user.created", "ada", 1_772_366_400_123)).await).await;
    let said = json!(["ada", "ada@example.com", "Ada Lovelace", null]);
    assert_eq!(facts(&events[0]), (Action::Upsert, "user_ada", said));
    assert_eq!(events[0].occurred_at, time::macros::datetime!(2026-03-01 12:00:00.123 UTC));
    // If Clerk sends no username, the primary e-mail address becomes the username, provided that it is verified.
    for (status, username) in [("verified", json!("ada@example.com")), ("unverified", json!(null))] {
        let mut body = super::clerk("user.updated", "ada", 1_772_366_400_123);
        body["data"]["username"] = Value::Null;
        body["data"]["id"] = status.into();
        body["data"]["email_addresses"][1]["verification"]["status"] = status.into();
        let events = hooks.queued(hooks.standard(status, &body).await).await;
        assert_eq!(facts(&events[0]).2[0], username, "{status}");
    }
    for flag in ["banned", "locked"] {
        let mut body = super::clerk("user.updated", flag, 1_772_366_400_123);
        body["data"][flag] = true.into();
        let events = hooks.queued(hooks.standard(flag, &body).await).await;
        assert_eq!(events[0].action, Action::Deactivate, "{flag}");
    }
    let reply = hooks.standard("s", &json!({ "type": "session.created", "data": { "id": "sess_1" } })).await;
    assert_eq!(reply.body, json!({ "accepted": 0 }));
}

#[tokio::test]
async fn auth0() {
    let hooks = Hooks::start().await;
    let event = |kind: &str, id: &str, verified: Value, blocked: bool| {
        json!({ "specversion": "1.0", "type": kind, "source": "urn:auth0:corp.users", "id": id,
            "time": "2026-03-01T12:00:00.000Z", "a0tenant": "corp", "a0stream": "est_1",
            "data": { "object": { "user_id": format!("auth0|{id}"), "email": "ada@example.com", "email_verified": verified,
                "name": "Ada Lovelace", "given_name": "Ada", "family_name": "Lovelace", "nickname": "ada", "blocked": blocked,
                "app_metadata": { "roles": ["supervisor"] }, "updated_at": "2026-03-01T11:59:59.000Z" } } })
    };
    for (kind, id, verified, blocked, action, username) in [
        ("user.created", "1", json!(true), false, Action::Upsert, json!("ada@example.com")),
        ("user.updated", "2", json!(false), false, Action::Upsert, json!(null)),
        ("user.updated", "3", json!(null), false, Action::Upsert, json!(null)),
        ("user.updated", "4", json!(true), true, Action::Deactivate, json!("ada@example.com")),
        ("user.deleted", "5", json!(true), false, Action::Deactivate, json!("ada@example.com")),
    ] {
        let body = event(kind, id, verified, blocked).to_string();
        let bearer = format!("Bearer {SECRET}");
        let headers = [("content-type", "application/cloudevents+json"), ("authorization", bearer.as_str())];
        let events = hooks.queued(hooks.post("auth0", &headers, body).await).await;
        let said = json!([username, "ada@example.com", "Ada Lovelace", ["supervisor"]]);
        assert_eq!(facts(&events[0]), (action, format!("auth0|{id}").as_str(), said), "{id}");
    }
}

#[tokio::test]
async fn workos() {
    let mut sources = sources();
    sources["workos"] = json!({ "members_of": ["directory_group_1"], "role_map": { "member": "agent" } });
    let hooks = Hooks::with(&sources).await;
    let user = |state: &str| {
        json!({ "object": "directory_user", "id": "directory_user_1", "directory_id": "directory_1", "idp_id": "8931",
            "email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace", "state": state,
            "custom_attributes": {}, "role": { "slug": "member" }, "updated_at": "2026-03-01T11:00:00.000Z" })
    };
    let grouped =
        |group: &str| json!({ "directory_id": "directory_1", "user": user("active"), "group": { "id": group } });
    for (kind, data, expected) in [
        ("dsync.user.created", user("active"), Some(Action::Refresh)),
        ("dsync.user.updated", user("inactive"), Some(Action::Deactivate)),
        ("dsync.user.deleted", user("active"), Some(Action::Deactivate)),
        ("dsync.group.user_added", grouped("directory_group_1"), Some(Action::Upsert)),
        ("dsync.group.user_added", grouped("directory_group_2"), None),
        ("dsync.group.user_removed", grouped("directory_group_1"), Some(Action::Deactivate)),
        ("connection.activated", json!({}), None),
    ] {
        let id = format!("event_{kind}{}", data["group"]["id"]);
        let body = json!({ "id": id, "event": kind, "data": data, "created_at": "2026-03-01T12:00:00.000Z" });
        let events = hooks.queued(hooks.stamped("workos", "workos-signature", 1000, &body).await).await;
        let said = json!(["ada@example.com", "ada@example.com", "Ada Lovelace", ["agent"]]);
        let expected = expected.map(|action| (action, "directory_user_1", said));
        assert_eq!(events.first().map(facts), expected, "{kind}");
        for event in events {
            // The queue releases an event only after the previous event about the same person is finished. So finish
            // this event by making it a dead letter.
            let message = Message::Event(event);
            hooks
                .platform
                .dead_letters()
                .bury(DeadLetter::of(&serde_json::to_string(&message).unwrap(), 1, "", hooks.world.clock_rng().now()))
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn okta() {
    let mut sources = sources();
    sources["okta"] = json!({ "members_of": ["0oa_flex"], "header": "x-hook-secret" });
    let hooks = Hooks::with(&sources).await;
    let event = |uuid: &str, kind: &str, app: &str| {
        json!({ "uuid": uuid, "published": "2026-03-01T12:00:00.000Z", "eventType": kind, "outcome": { "result": "SUCCESS" },
            "target": [{ "id": format!("00u{uuid}"), "type": "User", "alternateId": "ada@example.com", "displayName": "Ada Lovelace" },
                       { "id": app, "type": "AppInstance", "alternateId": "Flex", "displayName": "Flex" }] })
    };
    let body = json!({ "data": { "events": [
        event("1", "application.user_membership.add", "0oa_flex"),
        event("2", "application.user_membership.add", "0oa_other"),
        event("3", "application.user_membership.remove", "0oa_flex"),
        event("4", "user.account.update_profile", "none"),
        event("5", "user.lifecycle.create", "none"),
        event("6", "user.lifecycle.suspend", "none"),
        event("7", "user.session.start", "none"),
    ] } });
    let reply = hooks.post("okta", &[JSON, ("x-hook-secret", SECRET)], body.to_string()).await;
    let events = hooks.queued(reply).await;
    let said = json!(["ada@example.com", "ada@example.com", "Ada Lovelace", null]);
    let expected = [
        (Action::Upsert, "00u1", said.clone()),
        (Action::Deactivate, "00u3", said.clone()),
        (Action::Refresh, "00u4", said.clone()),
        (Action::Deactivate, "00u6", said),
    ];
    assert_eq!(events.iter().map(facts).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn fusionauth() {
    let mut sources = sources();
    sources["fusionauth"] = json!({ "members_of": ["app-1"] });
    let hooks = Hooks::with(&sources).await;
    let event = |kind: &str, active: bool, application: &str| {
        json!({ "event": { "id": format!("{kind}-{active}-{application}"), "type": kind, "createInstant": 1_772_366_400_000_i64,
            "registration": { "applicationId": application, "roles": ["supervisor"] },
            "user": { "id": format!("{kind}{active}{application}"), "username": "ada", "email": "ada@example.com",
                "firstName": "Ada", "lastName": "Lovelace", "active": active, "verified": true,
                "registrations": [{ "applicationId": "app-2", "roles": ["admin"] }] } } })
    };
    for (kind, active, application, action, roles) in [
        ("user.registration.create", true, "app-1", Some(Action::Upsert), json!(["supervisor"])),
        ("user.registration.create", true, "app-2", None, json!(null)),
        ("user.registration.delete", true, "app-1", Some(Action::Deactivate), json!(["supervisor"])),
        ("user.create.complete", true, "app-2", Some(Action::Refresh), json!(null)),
        ("user.update.complete", false, "app-2", Some(Action::Deactivate), json!(null)),
        ("user.delete", true, "app-2", Some(Action::Deactivate), json!(null)),
        ("user.login.success", true, "app-1", None, json!(null)),
    ] {
        let events = hooks.queued(hooks.fusionauth(&event(kind, active, application)).await).await;
        let said = json!(["ada", "ada@example.com", "Ada Lovelace", roles]);
        let found = events.first().map(|event| (event.action, facts(event).2));
        assert_eq!(found, action.map(|action| (action, said)), "{kind} {application}");
    }
}

#[tokio::test]
async fn zitadel() {
    let hooks = Hooks::start().await;
    let payload = json!({ "userName": "ada", "firstName": "Ada", "lastName": "Lovelace", "displayName": "Ada L.", "email": "ada@example.com" });
    for (number, packed) in [payload.clone(), json!(STANDARD.encode(payload.to_string()))].into_iter().enumerate() {
        let body = json!({ "aggregateID": format!("3120{number}"), "aggregateType": "user", "resourceOwner": "1", "instanceID": "2",
            "version": "v2", "sequence": 7, "event_type": "user.human.added", "created_at": "2026-03-01T12:00:00.123456Z",
            "userID": "9", "event_payload": packed });
        let events = hooks.queued(hooks.stamped("zitadel", "zitadel-signature", 1, &body).await).await;
        let said = json!(["ada", "ada@example.com", "Ada L.", null]);
        assert_eq!(facts(&events[0]), (Action::Upsert, format!("3120{number}").as_str(), said));
        assert_eq!(events[0].id.as_str(), format!("3120{number}:7"));
    }
}

#[tokio::test]
async fn generic() {
    let hooks = Hooks::start().await;
    let hired = |what: &str, active: bool| {
        json!({ "what": what, "when": "2026-03-01T12:00:00Z", "who": { "number": 42, "login": "ada", "mail": "ada@example.com",
            "name": "Ada Lovelace", "job": ["lead"], "active": active } })
    };
    let said = json!(["ada", "ada@example.com", "Ada Lovelace", ["supervisor"]]);
    let events = hooks.queued(hooks.signed("hr", "1", &hired("hired", true)).await).await;
    assert_eq!(facts(&events[0]), (Action::Upsert, "42", said));
    let reply = hooks.signed("hr", "2", &hired("promoted", true)).await;
    assert_eq!(reply.body, json!({ "accepted": 0 }));
    hooks.settle().await;
    let inactive = hooks.signed("hr", "3", &hired("hired", false)).await;
    assert_eq!(inactive.status, 202);
}

#[tokio::test]
async fn a_wrong_clock_at_the_source_outdates_nothing() {
    let hooks = Hooks::start().await;
    let mut body = super::clerk("user.created", "ada", (hooks.now() + 10_000_000) * 1000);
    body["timestamp"] = Value::Null;
    let events = hooks.queued(hooks.standard("1", &body).await).await;
    assert!(events[0].occurred_at <= hooks.world.clock_rng().now());
}
