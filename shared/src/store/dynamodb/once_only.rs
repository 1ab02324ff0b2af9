//! Implements [`OnceOnly`] in DynamoDB. Each claimed action is one item, which is written only if no unexpired item
//! exists.
//!
//! The SDK repeats a write whose answer is lost, and DynamoDB refuses this repetition. In this rare case, no caller
//! may do the action. Two callers can never both do it.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{DynamoStore, EXPIRES_AT, item_of, refused, seconds};
use crate::store::{OnceOnly, StoreError, fingerprint};

#[async_trait]
impl OnceOnly for DynamoStore {
    async fn claim(
        &self,
        kind: &str,
        what: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let pk = format!("claim#{}", fingerprint(&[kind, what]));
        let item = item_of(&pk, "claim", [(EXPIRES_AT, seconds(until))]);
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
        let request = request
            .condition_expression("attribute_not_exists(pk) OR expires_at < :now")
            .expression_attribute_values(":now", seconds(now));
        Ok(refused(request.send().await)?.is_some())
    }
}
