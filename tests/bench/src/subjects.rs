//! The measured programs: Flexgate's functions, the floor (a function that does nothing), and the peers (mint
//! functions written in other languages). Each program comes with the events that the bench sends to it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use crate::lambda::{Start, http_event, now};
use crate::upstream::{Upstream, WEBHOOK_KEY};

/// The paths of everything that `tests/bench/run` builds and installs.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder of the release binaries.
    pub binaries: PathBuf,
    pub bench: PathBuf,
    /// The Python interpreter with the packages of the Python peer.
    pub python: PathBuf,
    /// The bundled Node peer.
    pub bundle: PathBuf,
}

/// Makes the next event.
pub type Events = Box<dyn FnMut() -> Value>;

/// A measured program.
pub struct Subject {
    pub name: String,
    pub start: Start,
    pub event: Events,
    /// The file to deploy, if the program consists of only one file.
    pub artifact: Option<PathBuf>,
}

/// Returns a Flexgate function, built for Lambda, with DynamoDB as its store.
pub fn function(name: &str, artifact: PathBuf, upstream: &Upstream, event: Events) -> Subject {
    let mut variables = upstream.variables();
    variables.push(("FLEXGATE_STORE", "dynamodb:flexgate".to_owned()));
    let start = Start { command: vec![text(&artifact)], variables, group: None };
    Subject { name: name.to_owned(), start, event, artifact: Some(artifact) }
}

pub fn functions(places: &Places, upstream: &Upstream, tokens: &[String]) -> Vec<Subject> {
    let of = |name: &str, binary: &str, event: Events| function(name, places.binaries.join(binary), upstream, event);
    vec![
        of("floor", "floor", Box::new(|| http_event("GET", "/", "", &[], None))),
        of("sso", "flexgate-sso", Box::new(|| http_event("GET", "/sso/default/login", "", &[], None))),
        of("mint", "flexgate-mint", mints(tokens)),
        of("provision", "flexgate-provision", look_ups(tokens)),
        of("webhooks", "flexgate-webhooks", Box::new(delivery)),
        of("apply", "flexgate-apply", Box::new(batches())),
    ]
}

pub fn peers(places: &Places, upstream: &Upstream, tokens: &[String]) -> Vec<Subject> {
    let node = places.bench.join("peers/node/mint.mjs");
    let python = places.bench.join("peers/python/mint.py");
    let commands = [
        ("Node 20", vec!["node".to_owned(), text(&node)]),
        ("Node 20, bundled", vec!["node".to_owned(), text(&places.bundle)]),
        ("Python 3.11", vec![text(&places.python), text(&python)]),
    ];
    let of = |(name, command): (&str, Vec<String>)| {
        let start = Start { command, variables: peer_variables(upstream), group: None };
        Subject { name: name.to_owned(), start, event: mints(tokens), artifact: None }
    };
    commands.map(of).into()
}

pub fn peer_variables(upstream: &Upstream) -> Vec<(&'static str, String)> {
    let mut variables = upstream.variables();
    let ca = text(&upstream.ca);
    variables.extend([
        ("ISSUER", upstream.issuer.clone()),
        ("JWKS", upstream.jwks()),
        ("TWILIO_URL", upstream.tls.clone()),
        ("NODE_EXTRA_CA_CERTS", ca.clone()),
        ("AWS_CA_BUNDLE", ca.clone()),
        ("REQUESTS_CA_BUNDLE", ca.clone()),
        ("SSL_CERT_FILE", ca),
    ]);
    variables
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Returns mint requests for each person in turn, without end.
pub fn mints(tokens: &[String]) -> Events {
    let mut tokens: Vec<String> = tokens.to_vec();
    Box::new(move || {
        tokens.rotate_left(1);
        let bearer = format!("Bearer {}", tokens[0]);
        http_event(
            "POST",
            "/token",
            "",
            &[("authorization", &bearer), ("content-type", "application/json")],
            Some("{}"),
        )
    })
}

fn look_ups(tokens: &[String]) -> Events {
    let bearer = format!("Bearer {}", tokens[0]);
    Box::new(move || http_event("GET", "/users", "username=bench000", &[("authorization", &bearer)], None))
}

fn delivery() -> Value {
    let (id, time) = (format!("msg_{}", now().as_nanos()), now().as_secs().to_string());
    let body = json!({
        "type": "user.updated", "timestamp": now().as_millis().to_string().parse::<u64>().unwrap(),
        "data": { "id": "subject-1", "username": "bench000", "email": "bench000@example.com", "full_name": "Bench Example" },
    })
    .to_string();
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_KEY), format!("{id}.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(signed));
    let headers = [
        ("webhook-id", id.as_str()),
        ("webhook-timestamp", &time),
        ("webhook-signature", &signature),
        ("content-type", "application/json"),
    ];
    http_event("POST", "/webhooks/standard", "", &headers, Some(&body))
}

/// Returns batches of one event. Each event changes the name of the same person.
fn batches() -> impl FnMut() -> Value {
    let mut count = 0;
    move || {
        count += 1;
        let body = event(count, 0);
        json!({ "Records": [{ "messageId": format!("m{count}"), "body": body,
                              "attributes": { "MessageGroupId": "g", "ApproximateReceiveCount": "1" } }] })
    }
}

/// Returns event number `count`, which is about person number `person`.
pub fn event(count: usize, person: usize) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(1_767_258_000 + i64::try_from(count).unwrap()).unwrap();
    let at = at.format(&time::format_description::well_known::Rfc3339).unwrap();
    json!({
        "kind": "event", "id": format!("e{count}"), "source": "standard", "occurred_at": at,
        "subject": { "id": format!("subject-{person}") }, "action": "upsert",
        "profile": { "username": format!("person{person:06}"), "email": format!("person{person}@example.com"),
                     "full_name": format!("Person Number {count}"), "unverified_roles": ["agent"] },
    })
    .to_string()
}
