//! Counters in DynamoDB, for rate limits and for the attempts to apply a message. Each counter is one item. The first
//! count after the end of a time span replaces the item.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValue;
use time::{Duration, OffsetDateTime};

use super::{DynamoStore, EXPIRES_AT, PK, SK, TRIES, crowded, item_of, moment, n, number, refused, s, seconds};
use crate::store::{Counted, Counters, StoreError, counter_key};

const COUNTER: &str = "counter";

fn key(kind: &str, what: &[&str]) -> String {
    format!("counter#{}", counter_key(kind, what))
}

#[async_trait]
impl Counters for DynamoStore {
    async fn count(
        &self,
        kind: &str,
        what: &[&str],
        now: OffsetDateTime,
        span: Duration,
    ) -> Result<Counted, StoreError> {
        let pk = key(kind, what);
        for _ in 0..TRIES {
            let request =
                self.client().await.update_item().table_name(&*self.table).key(PK, s(&pk)).key(SK, s(COUNTER));
            let request = request
                .update_expression("SET counted_times = counted_times + :one")
                .condition_expression("attribute_exists(pk) AND expires_at > :now")
                .expression_attribute_values(":one", n(1))
                .expression_attribute_values(":now", seconds(now))
                .return_values(ReturnValue::AllNew);
            if let Some(counted) = refused(request.send().await)? {
                let item = counted.attributes.unwrap_or_default();
                return Ok(Counted { times: number(&item, "counted_times")?, until: moment(&item, EXPIRES_AT)? });
            }
            let until = now + span;
            let item = item_of(&pk, COUNTER, [("counted_times", n(1)), (EXPIRES_AT, seconds(until))]);
            let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
            let request = request
                .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
                .expression_attribute_values(":now", seconds(now));
            if refused(request.send().await)?.is_some() {
                return Ok(Counted {
                    times: 1,
                    until: OffsetDateTime::from_unix_timestamp(until.unix_timestamp()).unwrap_or(until),
                });
            }
        }
        Err(crowded())
    }

    async fn forget(&self, kind: &str, what: &[&str]) -> Result<(), StoreError> {
        self.remove(&key(kind, what), COUNTER).await.map(drop)
    }
}
