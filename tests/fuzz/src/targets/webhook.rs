//! Fuzzes webhook deliveries to one source of each kind. The target adds the source's signature or secret to each
//! delivery.
//!
//! For `fusionauth`, the first line of an input contains the claims of the JWT that signs the delivery, and the rest is
//! the body. For every other source, the whole input is the body.

use std::cell::RefCell;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flexgate::domain::{IdentityEvent, Username};
use flexgate::store::{Ended, EventStatus, Lane, Message};
use http::Request;
use ring::{digest, hmac};
use serde_json::{Map, Value, json};
use time::Duration;

use crate::Outcome;
use crate::world::{Function, NOW, Reply, WEBHOOK_KEY, WEBHOOK_SECRET, World, block_on};

/// The groups, applications and organisations in the sources' settings.
const MEMBERS_OF: [&str; 4] = ["org_1", "group-a", "group-b", "application-a"];

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Checks that an accepted delivery queues only what its body says, and that a forged delivery queues no event.
pub(crate) fn run(source: &str, input: &[u8]) -> Outcome {
    let (claims, body) = match input.iter().position(|byte| *byte == b'\n') {
        Some(at) if source == "fusionauth" => input.split_at(at + 1),
        _ => (&b"{}"[..], input),
    };
    let Ok(mut claims) = serde_json::from_slice::<Map<String, Value>>(claims) else { return Outcome::Refused };
    let digest = STANDARD.encode(digest::digest(&digest::SHA256, body));
    claims.entry("request_body_sha256").or_insert(digest.into());

    // Reuse the deployment until an event is queued, because creating a deployment takes longer than everything else.
    let world = WORLD.take().unwrap_or_else(World::new);
    // A delivery from Graph has its secret in the body, so replace the secret there.
    let document = serde_json::from_slice::<Value>(body).ok().filter(|_| source == "graph");
    let forged_body =
        document.map_or(body.to_vec(), |document| document.to_string().replace(WEBHOOK_SECRET, "a guess").into());
    let forged_proof = proof(source, body, &claims, b"another secret that nobody knows");
    let forged = post(&world, source, &forged_body, &forged_proof);
    assert_eq!(forged.status, 401, "{forged:?}");
    assert!(queued(&world).iter().all(is_note), "a forged delivery was queued");

    let secret = if ["standard", "hr"].contains(&source) { WEBHOOK_KEY } else { WEBHOOK_SECRET.as_bytes() };
    let reply = post(&world, source, body, &proof(source, body, &claims, secret));
    let messages = queued(&world);
    if messages.iter().all(is_note) {
        WORLD.set(Some(world));
    }
    if reply.status != 202 {
        assert!(reply.status.is_client_error(), "{reply:?}");
        assert!(messages.iter().all(is_note), "{messages:?}");
        return Outcome::Refused;
    }
    let document: Value = serde_json::from_slice(body).unwrap();
    let mut texts = Vec::new();
    leaves(&document, &mut texts);
    let accepted: Vec<_> = messages.iter().filter(|message| !is_note(message)).collect();
    // The queue drops an event whose id it already contains. So it may contain fewer events than Flexgate has accepted.
    assert!(reply.json()["accepted"].as_u64().unwrap() >= accepted.len() as u64, "{messages:?}");
    for message in &accepted {
        assert_eq!(message.source(), source);
        match message {
            Message::Event(event) => check(event, &texts, source),
            Message::Unreadable { document, .. } => {
                assert!(source != "graph" || document.get("clientState").is_none(), "a stored secret");
            }
            Message::Ended { ended: Ended::Membership(id), occurred_at, .. } => {
                assert!(MEMBERS_OF.contains(&&**id) && *occurred_at <= NOW, "{message:?}");
            }
            Message::Ended { occurred_at, .. } => assert!(*occurred_at <= NOW, "{message:?}"),
            other => panic!("{other:?}"),
        }
    }
    Outcome::of(accepted.iter().any(|message| !matches!(message, Message::Unreadable { .. })))
}

fn is_note(message: &Message) -> bool {
    matches!(message, Message::Note(_))
}

/// Checks that the person, the profile and the membership in an event come from the body.
fn check(event: &IdentityEvent, texts: &[String], source: &str) {
    let says = |text: &str| texts.iter().any(|leaf| leaf == text || leaf.trim() == text);
    let subject = event.subject.id.as_str();
    let is_id = |tenant: &String| subject.strip_prefix(tenant.as_str())?.strip_prefix(':');
    let is_of_tenant = source == "graph" && texts.iter().filter_map(is_id).any(says);
    assert!(says(subject) || is_of_tenant, "{subject:?}");
    let issuer = (source == "graph").then_some("https://login.microsoftonline.com/tenant-1/v2.0");
    assert_eq!(event.subject.issuer.as_deref(), issuer);
    assert!(event.occurred_at <= NOW, "{event:?}");
    let profile = &event.profile;
    if let Some(username) = &profile.username {
        let is_said = |leaf: &String| leaf.trim().parse::<Username>().is_ok_and(|leaf| leaf.key() == username.key());
        assert!(texts.iter().any(is_said), "{username:?}");
    }
    if let Some(email) = &profile.email {
        assert!(texts.iter().any(|leaf| leaf.trim().eq_ignore_ascii_case(email.as_str())), "{email:?}");
    }
    for role in profile.unverified_roles.iter().flatten() {
        assert!(says(role) || (source == "hr" && role == "supervisor" && says("lead")), "{role:?}");
    }
    if let Some(membership) = &event.membership {
        assert!(MEMBERS_OF.contains(&&**membership), "{membership:?}");
        assert!(says(membership), "{membership:?}");
    }
}

/// Collects the strings and numbers of a document.
fn leaves(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, texts)),
        Value::Object(map) => map.values().for_each(|item| leaves(item, texts)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn post(world: &World, source: &str, body: &[u8], proof: &[(&str, String)]) -> Reply {
    let mut request = Request::post(format!("/webhooks/{source}")).header("content-type", "application/json");
    for (name, value) in proof {
        request = request.header(*name, value);
    }
    world.send(Function::Webhooks, request.body(Body::from(body.to_vec())).unwrap())
}

fn queued(world: &World) -> Vec<Message> {
    let inbox = world.platform.inbox().unwrap();
    block_on(async {
        let waiting = inbox.count(EventStatus::Waiting).await.unwrap();
        let mut messages = Vec::new();
        for lane in [Lane::Events, Lane::Bulk] {
            // `take` returns at most one message about each subject, and all messages may have the same subject. So
            // call `take` as often as there are messages.
            for _ in 0..waiting {
                let taken = inbox.take(lane, 1_000, NOW, NOW + Duration::minutes(1)).await.unwrap();
                for one in taken {
                    messages.push(serde_json::from_str(&one.body).unwrap());
                    inbox.settle(&one, flexgate::store::Settled::Applied, NOW).await.unwrap();
                }
            }
        }
        messages
    })
}

/// Returns the headers with which the source authenticates this delivery.
fn proof(source: &str, body: &[u8], claims: &Map<String, Value>, secret: &[u8]) -> Vec<(&'static str, String)> {
    let seconds = NOW.unix_timestamp().to_string();
    let stamped = |time: &str| {
        let tag = hmac_sha256(secret, &[time.as_bytes(), b".", body]);
        let hex = tag.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        format!("t={time},v1={hex}")
    };
    match source {
        "standard" | "hr" => {
            let tag = hmac_sha256(secret, &[b"msg_1.", seconds.as_bytes(), b".", body]);
            vec![
                ("webhook-id", "msg_1".to_owned()),
                ("webhook-timestamp", seconds),
                ("webhook-signature", format!("v1,{}", STANDARD.encode(tag))),
            ]
        }
        "okta" | "auth0" => vec![("authorization", String::from_utf8_lossy(secret).into_owned())],
        "workos" => vec![("workos-signature", stamped(&format!("{seconds}000")))],
        "zitadel" => vec![("zitadel-signature", stamped(&seconds))],
        "fusionauth" => {
            let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(json!({ "alg": "HS256" })), part(Value::Object(claims.clone())));
            let tag = URL_SAFE_NO_PAD.encode(hmac_sha256(secret, &[signed.as_bytes()]));
            vec![("x-fusionauth-signature-jwt", format!("{signed}.{tag}"))]
        }
        _ => Vec::new(),
    }
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat()).as_ref().to_vec()
}
