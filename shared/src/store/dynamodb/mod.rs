//! The store in one DynamoDB table.
//!
//! Every item has the string keys `pk` and `sk`, and `expires_at` is the table's TTL attribute. Reads are strongly
//! consistent, so that nobody can read a session that has already ended.
//!
//! If an answer is lost, the SDK sends the request again. DynamoDB recognises a repeated transaction by its token. It
//! does not recognise a repeated write of a single item: the condition of that write fails, because the first attempt
//! has changed the item. So the code must recognise its own first attempt: by the stored content, by the holder of the
//! lease, or by a [`request_number`] in the item.
//!
//! The table has no secondary index. If Flexgate must also find an item by another key, the same transaction writes a
//! second item under that key. Attribute names contain an underscore, to avoid DynamoDB's reserved words.

mod activity;
mod bindings;
mod counters;
mod events;
mod logins;
mod once_only;
mod people;
mod scim;
mod sealed;
mod session_endings;
mod session_list;
mod sessions;
mod sign_in_state;
mod usernames;

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, KeysAndAttributes, Put, TransactWriteItem};
use futures_util::{StreamExt as _, TryStreamExt as _};
use time::{Duration, OffsetDateTime};
use tokio::sync::OnceCell;

use super::{Queues, SqsQueue, StoreError};
use crate::base::clock_rng::{SystemRng, random};
use crate::lambda::Aws;

const PK: &str = "pk";
const SK: &str = "sk";

/// The TTL attribute, in seconds since 1970. DynamoDB removes an item some time after it has expired.
const EXPIRES_AT: &str = "expires_at";

/// The maximum number of attempts at an operation. An attempt fails if DynamoDB throttles, or if another transaction
/// uses the same items.
const TRIES: u32 = 10;

/// The maximum number of items in one batch read of DynamoDB.
const BATCH: usize = 100;
const BATCHES_AT_ONCE: usize = 8;

type Item = HashMap<String, AttributeValue>;

/// The store in one DynamoDB table. The client is built on first use.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    aws: Aws,
    table: Arc<str>,
    client: Arc<OnceCell<Client>>,
    /// The queue to which an operator can return a dead letter.
    queue: SqsQueue,
}

impl DynamoStore {
    /// Makes a store in `table`. Sends no request to the table yet. The client later gets its credentials, region and
    /// endpoint from the environment.
    #[must_use]
    pub fn new(table: &str, queue: SqsQueue, aws: Aws) -> Self {
        Self { aws, table: table.into(), client: Arc::default(), queue }
    }

    /// Makes a store in `table` that uses this client.
    #[must_use]
    pub fn with_client(table: &str, client: Client, aws: Aws) -> Self {
        let queue = SqsQueue::new(Queues::default(), aws.clone());
        Self { aws, table: table.into(), client: Arc::new(OnceCell::new_with(Some(client))), queue }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.aws.config().await) }).await
    }

    /// Returns the item with this key. The read is strongly consistent.
    async fn item(&self, pk: &str, sk: &str) -> Result<Option<Item>, StoreError> {
        let request = self.client().await.get_item().table_name(&*self.table).key(PK, s(pk)).key(SK, s(sk));
        Ok(request.consistent_read(true).send().await.map_err(unavailable)?.item)
    }

    /// Returns every item with this `pk` whose `sk` begins with `prefix`, in the order of `sk`.
    async fn items(&self, pk: &str, prefix: &str) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let request = self.client().await.query().table_name(&*self.table).consistent_read(true);
            let request = request
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":pk", s(pk))
                .expression_attribute_values(":prefix", s(prefix));
            let page = request.set_exclusive_start_key(from).send().await.map_err(unavailable)?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    /// Returns the items with these keys, in no particular order. Leaves out keys that have no item.
    async fn batch(&self, keys: BTreeSet<(String, String)>) -> Result<Vec<Item>, StoreError> {
        self.batch_of(keys, None).await
    }

    /// Like [`Self::batch`], but reads only the attributes that `shown` names, separated by commas. `None` reads all.
    async fn batch_of(&self, keys: BTreeSet<(String, String)>, shown: Option<&str>) -> Result<Vec<Item>, StoreError> {
        let keys: Vec<Item> = keys.iter().map(|(pk, sk)| item_of(pk, sk, [])).collect();
        let some: Vec<Vec<Item>> = keys.chunks(BATCH).map(<[Item]>::to_vec).collect();
        let read =
            futures_util::stream::iter(some).map(|keys| self.chunk(keys, shown)).buffer_unordered(BATCHES_AT_ONCE);
        Ok(read.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
    }

    async fn chunk(&self, keys: Vec<Item>, shown: Option<&str>) -> Result<Vec<Item>, StoreError> {
        let (mut items, mut left) = (Vec::new(), keys);
        for tried in 0..TRIES {
            let keys = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true);
            let keys = keys.set_projection_expression(shown.map(str::to_owned));
            let request = self.client().await.batch_get_item();
            let request = request.request_items(&*self.table, keys.build().map_err(unbuildable)?);
            let answer = request.send().await.map_err(unavailable)?;
            items.extend(answer.responses.unwrap_or_default().into_values().flatten());
            // DynamoDB returns only some of the items if it throttles, or if the answer would be too large.
            left = answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|keys| keys.keys).collect();
            if left.is_empty() {
                return Ok(items);
            }
            pause(tried).await;
        }
        Err(crowded())
    }

    /// Removes the item with this key, and returns its former content.
    async fn remove(&self, pk: &str, sk: &str) -> Result<Option<Item>, StoreError> {
        use aws_sdk_dynamodb::types::ReturnValue;
        let request = self.client().await.delete_item().table_name(&*self.table).key(PK, s(pk)).key(SK, s(sk));
        Ok(request.return_values(ReturnValue::AllOld).send().await.map_err(unavailable)?.attributes)
    }

    /// Writes all items or none, in one attempt.
    async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Transacted, StoreError> {
        Ok(match self.attempt(writes).await? {
            Attempt::Written => Transacted::Yes,
            Attempt::Unmet | Attempt::Busy => Transacted::No,
        })
    }

    /// Writes all items or none. Tries again if another transaction is writing the same items. Returns false if a
    /// condition is not met.
    async fn commit(&self, writes: Vec<TransactWriteItem>) -> Result<bool, StoreError> {
        for tried in 0..TRIES {
            match self.attempt(writes.clone()).await? {
                Attempt::Written => return Ok(true),
                Attempt::Unmet => return Ok(false),
                Attempt::Busy => pause(tried).await,
            }
        }
        Err(crowded())
    }

    async fn attempt(&self, writes: Vec<TransactWriteItem>) -> Result<Attempt, StoreError> {
        let request = self.client().await.transact_write_items().set_transact_items(Some(writes));
        let Err(error) = request.send().await else { return Ok(Attempt::Written) };
        let cancelled = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled_by(cancelled),
            _ => None,
        };
        cancelled.ok_or_else(|| unavailable(error))
    }

    /// Updates one item. Returns `None` if its condition is not met.
    async fn send_update(&self, request: UpdateItemFluentBuilder) -> Result<Option<UpdateItemOutput>, StoreError> {
        for tried in 0..TRIES {
            match request.clone().send().await {
                // Another transaction is writing the item. The SDK does not retry this error automatically.
                Err(error) if error.code() == Some("TransactionConflictException") => pause(tried).await,
                answer => return refused(answer),
            }
        }
        Err(crowded())
    }

    /// Builds the part of a transaction that writes `item`. The transaction fails if `condition` is not met.
    fn put(&self, item: Item, condition: Option<&str>) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder().table_name(&*self.table).set_item(Some(item));
        let put = put.set_condition_expression(condition.map(str::to_owned)).build().map_err(unbuildable)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Builds the part of a transaction that removes an item. `only_if` names an attribute and a value: if the item's
    /// attribute has another value, the transaction fails.
    fn delete(
        &self,
        pk: &str,
        sk: &str,
        only_if: Option<(&str, AttributeValue)>,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut delete = Delete::builder().table_name(&*self.table).key(PK, s(pk)).key(SK, s(sk));
        if let Some((attribute, value)) = only_if {
            let condition = format!("{attribute} = :value");
            delete = delete.condition_expression(condition).expression_attribute_values(":value", value);
        }
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(unbuildable)?).build())
    }
}

/// The outcome of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transacted {
    /// All items were written.
    Yes,
    /// Nothing was written: a condition was not met, or another transaction was writing the same items.
    No,
}

/// The outcome of one attempt at a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// All items were written.
    Written,
    /// A condition was not met.
    Unmet,
    /// Another transaction was writing the same items, or DynamoDB throttled. A later attempt can succeed.
    Busy,
}

/// Returns why DynamoDB cancelled a transaction. `None` means that a later attempt cannot succeed, for example
/// because an item is too large.
fn cancelled_by(cancelled: &TransactionCanceledException) -> Option<Attempt> {
    let mut attempt = Attempt::Busy;
    for reason in cancelled.cancellation_reasons() {
        match reason.code().unwrap_or("None") {
            "None" | "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded" => {}
            "ConditionalCheckFailed" => attempt = Attempt::Unmet,
            _ => return None,
        }
    }
    Some(attempt)
}

/// Converts DynamoDB's error about an unmet condition into `None`, and other errors into errors of the store.
fn refused<T, E>(answer: Result<T, SdkError<E>>) -> Result<Option<T>, StoreError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match answer {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(None),
        Err(error) => Err(unavailable(error)),
    }
}

fn unavailable<E: Error + Send + Sync + 'static>(error: E) -> StoreError {
    StoreError::Unavailable(error.into())
}

fn unbuildable(error: aws_sdk_dynamodb::error::BuildError) -> StoreError {
    StoreError::Unavailable(error.into())
}

/// Returns the error for an operation whose attempts all failed because of other writers.
fn crowded() -> StoreError {
    StoreError::Unavailable("other writers were at the same items all the time".into())
}

/// Waits before another attempt. The pause grows with each attempt.
async fn pause(tried: u32) {
    tokio::time::sleep(std::time::Duration::from_millis(u64::from(tried + 1) * 10)).await;
}

/// Returns a random number to store with a request. If the SDK repeats the request, this number shows whether the first
/// attempt was successful.
fn request_number() -> AttributeValue {
    s(format!("{:032x}", u128::from_be_bytes(random(&SystemRng))))
}

fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn n(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

fn seconds(moment: OffsetDateTime) -> AttributeValue {
    n(moment.unix_timestamp())
}

fn item_of<const N: usize>(pk: &str, sk: &str, attributes: [(&str, AttributeValue); N]) -> Item {
    let keys = [(PK, s(pk)), (SK, s(sk))];
    keys.into_iter().chain(attributes).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn corrupt(problem: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Corrupt(problem.into())
}

fn text<'a>(item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
        .ok_or_else(|| corrupt(format!("an item lacks the text {name}")))
}

fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(item: &Item, name: &str) -> Result<T, StoreError> {
    text(item, name)?.parse().map_err(|error: T::Err| corrupt(error))
}

fn number<T: FromStr<Err: Error + Send + Sync + 'static>>(item: &Item, name: &str) -> Result<T, StoreError> {
    let digits = item.get(name).and_then(|value| value.as_n().ok());
    let digits = digits.ok_or_else(|| corrupt(format!("an item lacks the number {name}")))?;
    digits.parse().map_err(|error: T::Err| corrupt(error))
}

fn moment(item: &Item, name: &str) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp(number(item, name)?).map_err(corrupt)
}

/// Returns when a SCIM entry or a group was written. Items from an earlier version of Flexgate have no milliseconds.
fn updated_at(item: &Item) -> Result<OffsetDateTime, StoreError> {
    let millis = if item.contains_key("updated_millis") { number(item, "updated_millis")? } else { 0 };
    Ok(moment(item, "updated_at")? + Duration::milliseconds(millis))
}
