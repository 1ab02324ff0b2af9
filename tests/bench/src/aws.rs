//! A stub of Secrets Manager, DynamoDB and SQS over TLS. The stub is fast, so that the bench measures the functions and
//! not AWS. The stub checks DynamoDB's conditions only for counters and for new items.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::tls::Tls;

#[derive(Default)]
struct Held {
    secrets: HashMap<String, Value>,
    items: BTreeMap<(String, String), Map<String, Value>>,
}

type Shared = Arc<Mutex<Held>>;

/// Serves the stub. Returns its CA certificate and its port.
pub async fn serve(secrets: HashMap<String, Value>) -> (String, u16) {
    let held = Shared::new(Mutex::new(Held { secrets, ..Held::default() }));
    let listener = Tls::listen().await;
    let (ca, port) = (listener.ca_pem.clone(), listener.address.port());
    let router = Router::new().fallback(answer).with_state(held);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (ca, port)
}

async fn answer(State(held): State<Shared>, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let signed = headers.get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256"));
    let Ok(asked) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let operation = target.rsplit('.').next().unwrap_or_default();
    let done = if signed { perform(&mut held.lock().unwrap(), operation, &asked) } else { Err("AccessDenied") };
    let (status, document) = match done {
        Ok(document) => (StatusCode::OK, document),
        Err(kind) => (StatusCode::BAD_REQUEST, json!({ "__type": kind, "message": kind })),
    };
    let json = "application/x-amz-json-1.0";
    (status, [("content-type", json), ("x-amzn-requestid", "bench")], document.to_string()).into_response()
}

fn perform(held: &mut Held, operation: &str, asked: &Value) -> Result<Value, &'static str> {
    const CONDITION: &str = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    let Held { secrets, items } = held;
    Ok(match operation {
        "GetSecretValue" => {
            let name = asked["SecretId"].as_str().unwrap_or_default();
            let secret = secrets.get(name).ok_or("ResourceNotFoundException")?;
            json!({ "ARN": format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}"), "Name": name,
                    "VersionId": "00000000-0000-0000-0000-000000000001", "VersionStages": ["AWSCURRENT"],
                    "SecretString": secret.to_string(), "CreatedDate": 1_767_258_000 })
        }
        "GetItem" => items.get(&key(&asked["Key"])).map_or(json!({}), |item| json!({ "Item": item })),
        "PutItem" => {
            write(items, asked);
            json!({})
        }
        "UpdateItem" => {
            let values = &asked["ExpressionAttributeValues"];
            if values[":total"].is_object() {
                // This update stores the number of users, which Flexgate needs for lists of SCIM users.
                let item = items.entry(key(&asked["Key"])).or_insert_with(|| asked["Key"].as_object().unwrap().clone());
                item.insert("user_total".to_owned(), values[":total"].clone());
                item.insert("total_until".to_owned(), values[":until"].clone());
                return Ok(json!({}));
            }
            // All other updates increment a counter.
            let now = number(&values[":now"]);
            let item = items.get_mut(&key(&asked["Key"])).filter(|item| number(&item["expires_at"]) > now);
            let item = item.ok_or(CONDITION)?;
            item["counted_times"] = json!({ "N": (number(&item["counted_times"]) + 1).to_string() });
            json!({ "Attributes": item })
        }
        "DeleteItem" => items.remove(&key(&asked["Key"])).map_or(json!({}), |item| json!({ "Attributes": item })),
        "TransactWriteItems" => {
            for one in asked["TransactItems"].as_array().into_iter().flatten() {
                if one["Put"].is_object() {
                    write(items, &one["Put"]);
                } else if one["Delete"].is_object() {
                    items.remove(&key(&one["Delete"]["Key"]));
                }
            }
            json!({})
        }
        "Query" => {
            let values = &asked["ExpressionAttributeValues"];
            let (pk, prefix) = (text(&values[":pk"]), text(&values[":prefix"]));
            if values[":index"].is_object() {
                // This query finds a page token. Each item contains Twilio's token for one page of users, and the index
                // of that page's first user. The query returns the last item that has not expired and whose index is at
                // most the requested index.
                let upto = items.range((pk.clone(), String::new())..=(pk, text(&values[":index"])));
                let now = number(&values[":now"]);
                let last = upto.rev().map(|(_, item)| item).find(|item| number(&item["expires_at"]) > now);
                return Ok(json!({ "Items": last.into_iter().collect::<Vec<_>>(), "Count": 1 }));
            }
            let found = items.range((pk.clone(), prefix.clone())..);
            let found: Vec<_> = found.take_while(|((p, s), _)| *p == pk && s.starts_with(&prefix)).collect();
            json!({ "Items": found.iter().map(|(_, item)| item).collect::<Vec<_>>(), "Count": found.len() })
        }
        "BatchGetItem" => {
            let tables = asked["RequestItems"].as_object().into_iter().flatten();
            let answered = tables.map(|(table, wanted)| {
                let keys = wanted["Keys"].as_array().into_iter().flatten();
                (table.clone(), keys.filter_map(|one| items.get(&key(one)).cloned().map(Value::Object)).collect())
            });
            json!({ "Responses": answered.collect::<Map<_, Value>>(), "UnprocessedKeys": {} })
        }
        "SendMessageBatch" => {
            let entries = asked["Entries"].as_array().into_iter().flatten();
            let sent = entries.map(|entry| {
                let digest = md5_of_nothing_checked();
                json!({ "Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": digest, "SequenceNumber": "1" })
            });
            json!({ "Successful": sent.collect::<Vec<_>>(), "Failed": [] })
        }
        _ => return Err("UnknownOperationException"),
    })
}

/// Returns a fixed digest, because the SDK does not check the MD5 digest of a message.
fn md5_of_nothing_checked() -> &'static str {
    "00000000000000000000000000000000"
}

fn write(items: &mut BTreeMap<(String, String), Map<String, Value>>, put: &Value) {
    if let Some(item) = put["Item"].as_object() {
        items.insert(key(&put["Item"]), item.clone());
    }
}

fn key(of: &Value) -> (String, String) {
    (text(&of["pk"]), text(&of["sk"]))
}

fn text(value: &Value) -> String {
    value["S"].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> i64 {
    value["N"].as_str().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}
