//! Tests the code that talks to AWS, with the real protocols and an emulator of AWS. `tests/run aws` starts the
//! emulator and sets `AWS_ENDPOINT_URL` to its address.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[path = "../common/dynamodb.rs"]
mod dynamodb;
#[path = "../common/proxy.rs"]
#[expect(dead_code, reason = "another suite loses one answer in many")]
mod proxy;

mod lost_answers;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use flexgate::base::outbound::{Deadline, http_client};
use flexgate::domain::{History, Identity, Moment};
use flexgate::lambda::Aws;
use flexgate::secrets::{FetchError, SecretSource, SecretValue, SecretsManager, Stage};
use flexgate::store::{
    Backlog, Bindings, Bound, DeadLetter, DeadLetters, DynamoStore, EventHistory, EventQueue, Lane, Message, OnceOnly,
    Queues, Session, SessionKey, SessionOrigin, Sessions, SqsQueue, StoreError,
};
use flexgate_test_support::patient_aws;
use secrecy::ExposeSecret;
use time::OffsetDateTime;
use time::macros::datetime;

use proxy::Proxy;

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

fn endpoint() -> String {
    std::env::var("AWS_ENDPOINT_URL").unwrap()
}

fn aws() -> Aws {
    patient_aws(http_client(&[]).unwrap())
}

/// Fetches a secret. Tries again if the emulator is too slow, as on a busy machine.
async fn fetch(secrets: &SecretsManager, id: &str, stage: Stage) -> Result<SecretValue, FetchError> {
    for _ in 0..20 {
        match secrets.fetch(id, stage, Deadline::after(Duration::from_mins(1))).await {
            Err(FetchError::Unavailable(_)) => {}
            done => return done,
        }
    }
    unreachable!("the emulator does not answer")
}

fn session(id: &str) -> Session {
    Session {
        key: SessionKey::of(id),
        profile: "default".parse().unwrap(),
        flex_user_sid: format!("FU{:032x}", 1).parse().unwrap(),
        sealed: "v1.1.sealed".into(),
        version: 0,
        created_at: NOW,
        used_at: NOW,
        ends_at: NOW + time::Duration::hours(12),
        seat: None,
        origin: SessionOrigin::default(),
    }
}

#[tokio::test]
async fn a_secret_and_the_one_a_rotation_is_about_to_put_in_force_are_read() {
    let aws = aws();
    let client = Client::new(aws.config().await);
    let id = format!("flexgate/twilio-{}", std::process::id());
    client.create_secret().name(&id).secret_string("the current one").send().await.unwrap();
    let secrets = SecretsManager::new(aws);

    let current = fetch(&secrets, &id, Stage::Current).await.unwrap();
    assert_eq!(current.text.expose_secret(), "the current one");
    let none = fetch(&secrets, &id, Stage::Pending).await;
    assert!(matches!(none, Err(FetchError::NotFound)), "nothing is pending");

    let put = client.put_secret_value().secret_id(&id).secret_string("the next one").version_stages("AWSPENDING");
    put.send().await.unwrap();
    let pending = fetch(&secrets, &id, Stage::Pending).await.unwrap();
    assert_eq!(pending.text.expose_secret(), "the next one");
    assert_ne!(pending.version, current.version);
    let still = fetch(&secrets, &id, Stage::Current).await.unwrap();
    assert_eq!(still.version, current.version, "the current one is still in force");

    let missing = fetch(&secrets, "flexgate/none", Stage::Current).await;
    assert!(matches!(missing, Err(FetchError::NotFound)));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_store_was_out_of_reach() {
    let proxy = Proxy::to(&endpoint()).await;
    let store = dynamodb::table(&proxy.url()).await;
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for round in 0..40 {
        match round {
            10 | 30 => proxy.cut(),
            20 => proxy.mend(),
            _ => {}
        }
        let id = format!("session-{round}");
        match store.insert(session(&id)).await {
            Ok(()) => acknowledged.push(id),
            Err(StoreError::Unavailable(_)) => refused += 1,
            Err(error) => unreachable!("{error:?}"),
        }
    }
    assert_eq!((acknowledged.len(), refused), (20, 20));
    assert!(matches!(store.claim("login", "1", NOW, NOW).await, Err(StoreError::Unavailable(_))));
    proxy.mend();
    for id in &acknowledged {
        assert_eq!(store.get(&SessionKey::of(id)).await.unwrap(), Some(session(id)));
    }
}

#[tokio::test]
async fn the_tokens_of_a_session_of_version_0_2_0_are_read_as_text_and_written_as_bytes() {
    let (table, client, aws) = dynamodb::new_table(&endpoint()).await;
    let store = dynamodb::store_in(&table, &endpoint(), aws);
    let session = session("ada");
    store.insert(session.clone()).await.unwrap();
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let keys = HashMap::from([
        ("pk".to_owned(), text(&format!("session#{}", session.key.as_str()))),
        ("sk".to_owned(), text("session")),
    ]);
    let old = client.update_item().table_name(&table).set_key(Some(keys.clone()));
    let old = old.update_expression("SET sealed_tokens = :old REMOVE session_tokens");
    old.expression_attribute_values(":old", text("v1.1.T2xk")).send().await.unwrap();
    assert_eq!(store.get(&session.key).await.unwrap().unwrap().sealed, "v1.1.T2xk");

    assert!(store.refreshed(&session.key, 0, "v1.1.TmV3").await.unwrap());
    assert_eq!(store.get(&session.key).await.unwrap().unwrap().sealed, "v1.1.TmV3");
    let item = client.get_item().table_name(&table).set_key(Some(keys)).send().await.unwrap().item.unwrap();
    assert_eq!(item["session_tokens"].as_b().unwrap().as_ref(), b"v1.1.New");
    assert_eq!(item["sealed_tokens"], text("-"), "0.2.0 finds nothing that opens");
}

/// For each session, version 0.2.0 wrote a separate item, called the mark, which records whose session it is. In this
/// test, one session has only such a mark, and no entry in the list of sessions.
#[tokio::test]
async fn a_session_whose_mark_lies_beside_the_bindings_ends_with_the_others() {
    let (table, client, aws) = dynamodb::new_table(&endpoint()).await;
    let store = dynamodb::store_in(&table, &endpoint(), aws);
    let (old, new) = (session("old"), session("new"));
    for session in [&old, &new] {
        store.insert(session.clone()).await.unwrap();
    }
    let user = old.flex_user_sid.clone();
    let text = |text: String| aws_sdk_dynamodb::types::AttributeValue::S(text);
    let sk = text(format!("session#{}", old.key.as_str()));
    let entries = client.scan().table_name(&table).filter_expression("begins_with(pk, :list) AND contains(sk, :key)");
    let entries = entries.expression_attribute_values(":list", text("session_list#".to_owned()));
    let entries = entries.expression_attribute_values(":key", text(old.key.as_str().to_owned())).send().await.unwrap();
    let [entry] = entries.items() else { panic!("a session has one entry: {:?}", entries.items()) };
    let remove = client.delete_item().table_name(&table).key("pk", entry["pk"].clone()).key("sk", entry["sk"].clone());
    remove.send().await.unwrap();
    let put = client.put_item().table_name(&table).item("pk", text(format!("user#{user}"))).item("sk", sk);
    put.send().await.unwrap();
    let ada = Identity { issuer: "https://idp.example".into(), subject: "ada".into() };
    assert_eq!(store.bind(&ada, &user, NOW).await.unwrap(), Bound::Yes);

    assert_eq!(store.end_all_of(&user).await.unwrap(), 2);
    assert_eq!(store.get(&old.key).await.unwrap(), None);
    assert_eq!(store.get(&new.key).await.unwrap(), None);
    assert_eq!(store.end_all_of(&user).await.unwrap(), 0);
    assert_eq!(store.user_of(&ada).await.unwrap(), Some(user), "the binding beside the mark stays");
}

/// Version 0.2.0 recorded the time of the last use in the session itself, not in a separate item.
#[tokio::test]
async fn a_use_that_an_earlier_version_recorded_counts() {
    let (table, client, aws) = dynamodb::new_table(&endpoint()).await;
    let store = dynamodb::store_in(&table, &endpoint(), aws);
    let ada = session("ada");
    store.insert(ada.clone()).await.unwrap();
    let (then, later) = (NOW + time::Duration::MINUTE, NOW + time::Duration::HOUR);
    let update = client.update_item().table_name(&table).update_expression("SET used_at = :at");
    let key = aws_sdk_dynamodb::types::AttributeValue::S(format!("session#{}", ada.key.as_str()));
    let update = update.key("pk", key).key("sk", aws_sdk_dynamodb::types::AttributeValue::S("session".to_owned()));
    let at = aws_sdk_dynamodb::types::AttributeValue::N(then.unix_timestamp().to_string());
    update.expression_attribute_values(":at", at).send().await.unwrap();
    assert_eq!(store.get(&ada.key).await.unwrap().unwrap().used_at, then);
    store.touch(&ada, later).await.unwrap();
    assert_eq!(store.get(&ada.key).await.unwrap().unwrap().used_at, later);
}

/// If the answer to the write of a session is lost, the SDK may repeat the write after the session has ended.
#[tokio::test]
async fn a_session_that_is_written_again_after_its_end_can_still_be_ended() {
    let (table, client, aws) = dynamodb::new_table(&endpoint()).await;
    let store = dynamodb::store_in(&table, &endpoint(), aws);
    let ada = session("ada");
    store.insert(ada.clone()).await.unwrap();
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let key = text(&format!("session#{}", ada.key.as_str()));
    let read = client.get_item().table_name(&table).key("pk", key).key("sk", text("session"));
    let item = read.send().await.unwrap().item;
    let again = async || {
        let put = client.put_item().table_name(&table).set_item(item.clone());
        put.condition_expression("attribute_not_exists(pk)").send().await.unwrap();
    };
    assert_eq!(store.end_all_of(&ada.flex_user_sid).await.unwrap(), 1);
    again().await;
    assert_eq!(store.end_all_of(&ada.flex_user_sid).await.unwrap(), 1);
    again().await;
    store.end(&ada.key).await.unwrap();
    again().await;
    assert_eq!(store.end_all_of(&ada.flex_user_sid).await.unwrap(), 1);
    assert_eq!(store.get(&ada.key).await.unwrap(), None);
}

/// A sign-in writes the entry in the list of sessions before the session itself. In this test, all sessions of the user
/// end between these two writes.
#[tokio::test]
async fn a_session_that_is_written_while_all_others_end_can_still_be_ended() {
    let (table, client, aws) = dynamodb::new_table(&endpoint()).await;
    let store = dynamodb::store_in(&table, &endpoint(), aws);
    let ada = session("ada");
    store.insert(ada.clone()).await.unwrap();
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    let key = format!("session#{}", ada.key.as_str());
    let get = client.get_item().table_name(&table).key("pk", text(&key)).key("sk", text("session"));
    let item = get.send().await.unwrap().item.unwrap();
    let remove = client.delete_item().table_name(&table).key("pk", text(&key)).key("sk", text("session"));
    remove.send().await.unwrap();
    assert_eq!(store.end_all_of(&ada.flex_user_sid).await.unwrap(), 0);
    client.put_item().table_name(&table).set_item(Some(item)).send().await.unwrap();
    assert_eq!(store.end_all_of(&ada.flex_user_sid).await.unwrap(), 1);
    assert_eq!(store.get(&ada.key).await.unwrap(), None);
}

fn message(id: &str) -> Message {
    Message::Unreadable {
        source: "okta".parse().unwrap(),
        id: id.parse().unwrap(),
        reason: "for a test".to_owned(),
        document: serde_json::json!({}),
    }
}

async fn new_queue(client: &aws_sdk_sqs::Client, name: &str) -> String {
    let made = client
        .create_queue()
        .queue_name(format!("{name}-{}.fifo", std::process::id()))
        .attributes(aws_sdk_sqs::types::QueueAttributeName::FifoQueue, "true")
        .send()
        .await
        .unwrap();
    made.queue_url.unwrap()
}

#[tokio::test]
async fn jobs_go_into_a_queue_of_their_own_and_come_back_into_it() {
    let client = aws_sdk_sqs::Client::new(aws().config().await);
    let queues = Queues {
        events: Some(new_queue(&client, "lane-events").await),
        bulk: Some(new_queue(&client, "lane-bulk").await),
    };
    let queue = SqsQueue::new(queues.clone(), aws());
    let job = |version| Message::FanOut { group: "fggrp_1".to_owned(), version, part: 0, members: Vec::new() };
    queue.send(&[message("e1"), job(7), job(8), job(7)], NOW).await.unwrap();
    let waiting = async |lane| queue.backlog(lane).await.unwrap().waiting;
    assert_eq!((waiting(Lane::Events).await, waiting(Lane::Bulk).await), (1, 2));

    let (table, _, _) = dynamodb::new_table(&endpoint()).await;
    let store = DynamoStore::new(&table, queue.clone(), aws());
    let letter = DeadLetter::of(&serde_json::to_string(&job(9)).unwrap(), 50, "no", NOW);
    store.bury(letter.clone()).await.unwrap();
    assert_eq!(store.list(9).await.unwrap(), [letter.clone()]);
    assert!(store.revive(&letter.key, NOW).await.unwrap());
    assert_eq!((waiting(Lane::Events).await, waiting(Lane::Bulk).await), (1, 3));

    let events_only = SqsQueue::new(Queues { bulk: None, ..queues }, aws());
    assert!(matches!(events_only.send(&[job(10)], NOW).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn the_queue_takes_many_messages_and_each_once() {
    let client = aws_sdk_sqs::Client::new(aws().config().await);
    let url = new_queue(&client, "events").await;
    let queue = SqsQueue::new(Queues { events: Some(url.clone()), bulk: None }, aws());
    let messages: Vec<_> = (0..25).map(|index| message(&format!("e{index}"))).collect();
    queue.send(&messages, NOW).await.unwrap();
    queue.send(&messages[..3], NOW).await.unwrap();
    assert_eq!(queue.backlog(Lane::Events).await.unwrap(), Backlog { waiting: 25, oldest: None });
    let mut bodies = std::collections::BTreeSet::new();
    let mut received = 0;
    loop {
        let some = client.receive_message().queue_url(&url).max_number_of_messages(10).send().await.unwrap();
        let some = some.messages.unwrap_or_default();
        if some.is_empty() {
            break;
        }
        for one in some {
            received += 1;
            let read: Message = serde_json::from_str(one.body.as_deref().unwrap()).unwrap();
            bodies.insert(read.id().into_owned());
            let done = client.delete_message().queue_url(&url).receipt_handle(one.receipt_handle.unwrap());
            done.send().await.unwrap();
        }
    }
    assert_eq!((received, bodies.len()), (25, 25));
    let nowhere = SqsQueue::new(Queues::default(), aws()).send(&messages, NOW).await;
    assert!(matches!(nowhere, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn messages_come_again_after_their_own_pause() {
    let client = aws_sdk_sqs::Client::new(aws().config().await);
    let url = new_queue(&client, "pauses").await;
    let queue = SqsQueue::new(Queues { events: None, bulk: Some(url.clone()) }, aws());
    let arn = format!("arn:aws:sqs:us-east-1:123456789012:{}", url.rsplit('/').next().unwrap());
    let job = |version| Message::FanOut { group: format!("g{version}"), version, part: 0, members: Vec::new() };
    queue.send(&(0..12).map(job).collect::<Vec<_>>(), NOW).await.unwrap();
    let received = async || {
        let mut handles = Vec::new();
        loop {
            let some = client.receive_message().queue_url(&url).max_number_of_messages(10).visibility_timeout(360);
            let some = some.send().await.unwrap().messages.unwrap_or_default();
            if some.is_empty() {
                return handles;
            }
            handles.extend(some.into_iter().map(|one| one.receipt_handle.unwrap()));
        }
    };
    let first = received().await;
    let mut pauses: Vec<_> = first.into_iter().map(|handle| (handle, Duration::ZERO)).collect();
    pauses[0].1 = Duration::from_secs(300);
    queue.redeliver(&arn, &pauses).await.unwrap();
    assert_eq!(received().await.len(), 11);

    let unknown = queue.redeliver("arn:aws:sqs:us-east-1:123456789012:other.fifo", &pauses).await;
    assert!(matches!(unknown, Err(StoreError::Unavailable(_))));
    let refused = queue.redeliver(&arn, &[("no handle".to_owned(), Duration::ZERO)]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
}

/// Versions before 0.2.0 stored the latest events about a person in an item that is called the history. This test
/// writes such an item as those versions did.
#[tokio::test]
async fn a_history_that_an_earlier_version_wrote_is_read() {
    let (table, client, _) = dynamodb::new_table(&endpoint()).await;
    let store = DynamoStore::new(&table, SqsQueue::new(Queues::default(), aws()), aws());
    let (source, barbara) = ("standard".parse().unwrap(), "user_1".parse().unwrap());
    assert_eq!(store.history(&source, &barbara).await.unwrap(), History::default());
    let user = format!("FU{:032x}", 7);
    let moment = r#"{"at":"1767258000000000000","deactivates":true,"id":"m3"}"#;
    let written = format!(r#"{{"profile":null,"status":{moment},"user":"{user}"}}"#);
    let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
    // The key contains the SHA-256 of the source's name and the subject's id, each preceded by its length.
    let pk = "1AgK4cvzZpkJTZ0iyea_csSwolnikIeBN-HcSt0r4Nw";
    let item = client.put_item().table_name(&table).item("pk", text(&format!("subject#{pk}")));
    item.item("sk", text("history")).item("history_text", text(&written)).send().await.unwrap();
    let status = Some(Moment { at: NOW, deactivates: true, id: "m3".parse().unwrap() });
    let expected = History { status, profile: None, user: Some(user.parse().unwrap()) };
    assert_eq!(store.history(&source, &barbara).await.unwrap(), expected);
}

#[tokio::test]
async fn dead_letters_are_kept_listed_and_not_lost_where_they_cannot_be_sent() {
    let store = dynamodb::table(&endpoint()).await;
    let body = serde_json::to_string(&message("e1")).unwrap();
    let letter = DeadLetter::of(&body, 3, "Twilio refused it", NOW);
    store.bury(letter.clone()).await.unwrap();
    store.bury(letter.clone()).await.unwrap();
    assert_eq!(store.list(10).await.unwrap(), [letter.clone()]);
    assert_eq!(store.find(&letter.key).await.unwrap(), Some(letter.clone()));
    assert!(!store.revive("none", NOW).await.unwrap());
    assert!(store.revive(&letter.key, NOW).await.is_err(), "this store has no queue");
    assert_eq!(store.find(&letter.key).await.unwrap(), Some(letter));
}
