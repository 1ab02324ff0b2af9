//! Tests answers that DynamoDB gives but its emulators never do: cancelled transactions, and conflicts between
//! transactions on the same item.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use flexgate::base::outbound::http_client;
use flexgate::domain::ledger::Given;
use flexgate::lambda::Aws;
use flexgate::store::{DynamoStore, Noting, People, PersonLease, StoreError, Written};
use serde_json::{Value, json};
use time::Duration;

use super::{NOW, dynamodb, id};

/// A simulated table: its answers, in order, and the requests that it has received.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(StatusCode, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn answer(State(script): State<Script>, request: Request) -> impl IntoResponse {
    let target = request.headers()["x-amz-target"].to_str().unwrap();
    script.asked.lock().unwrap().push(target.rsplit('.').next().unwrap().to_owned());
    let (status, body) = script.answers.lock().unwrap().pop_front().unwrap();
    (status, [("content-type", "application/x-amz-json-1.0")], body.to_string())
}

/// Creates a store whose table gives these answers.
async fn store(answers: impl IntoIterator<Item = (StatusCode, Value)>) -> (DynamoStore, Script) {
    let script = Script { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Script::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let aws = Aws::new(http_client(&[]).unwrap());
    (DynamoStore::with_client("table", dynamodb::client(&endpoint, &aws), aws), script)
}

fn failure(kind: &str, more: &Value) -> (StatusCode, Value) {
    let mut body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": "no" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    (StatusCode::BAD_REQUEST, body)
}

fn cancelled(codes: &[&str]) -> (StatusCode, Value) {
    let reasons: Vec<_> = codes.iter().map(|code| json!({ "Code": code })).collect();
    failure("TransactionCanceledException", &json!({ "CancellationReasons": reasons }))
}

fn done() -> (StatusCode, Value) {
    (StatusCode::OK, json!({}))
}

async fn note(answers: impl IntoIterator<Item = (StatusCode, Value)>) -> (Result<Written, StoreError>, usize) {
    let (store, script) = store(answers).await;
    let (given, username) = (Given::default(), "ada".parse().unwrap());
    let noting = Noting { given: &given, flex_user_sid: None, username: &username };
    let noted = store.note(id(1), 1, noting).await;
    let asked = script.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|asked| asked == "TransactWriteItems"), "{asked:?}");
    (noted, asked.len())
}

#[tokio::test]
async fn a_transaction_that_another_was_in_the_way_of_is_tried_again() {
    for reason in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
        let (noted, asked) = note([cancelled(&["None", reason]), cancelled(&[reason]), done()]).await;
        assert_eq!((noted.unwrap(), asked), (Written::Yes(2), 3), "{reason}");
    }
}

#[tokio::test]
async fn a_condition_that_did_not_hold_is_final() {
    for codes in [&["ConditionalCheckFailed", "None"][..], &["TransactionConflict", "ConditionalCheckFailed"]] {
        let (noted, asked) = note([cancelled(codes)]).await;
        assert_eq!((noted.unwrap(), asked), (Written::Moved, 1), "{codes:?}");
    }
}

#[tokio::test]
async fn a_reason_that_no_retry_overcomes_is_an_error_at_once() {
    for reason in ["ValidationError", "ItemCollectionSizeLimitExceeded", "AccessDenied"] {
        let (noted, asked) = note([cancelled(&["TransactionConflict", reason, "ConditionalCheckFailed"])]).await;
        assert!(matches!(noted, Err(StoreError::Unavailable(_))), "{reason}: {noted:?}");
        assert_eq!(asked, 1, "{reason}");
    }
}

#[tokio::test]
async fn a_transaction_that_is_always_in_the_way_is_given_up_on() {
    let (noted, asked) = note((0..99).map(|_| cancelled(&["TransactionConflict"]))).await;
    assert!(matches!(noted, Err(StoreError::Unavailable(_))), "{noted:?}");
    assert_eq!(asked, 10);
}

#[tokio::test]
async fn a_lease_is_asked_for_again_while_a_transaction_is_at_the_person() {
    let at_it = || failure("TransactionConflictException", &json!({}));
    let (store, script) = store([at_it(), at_it(), done(), at_it(), done()]).await;
    let granted = store.lease(id(1), 1, NOW, NOW + Duration::MINUTE).await.unwrap();
    assert_eq!(granted, PersonLease::Granted { taken_over: false });
    assert!(store.release(id(1), 1, Some(1)).await.unwrap());
    assert_eq!(*script.asked.lock().unwrap(), ["UpdateItem"; 5]);
}
