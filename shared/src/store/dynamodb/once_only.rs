//! Makes sure, with DynamoDB, that only one caller does an action ([`OnceOnly`]). A caller who gets the right to do the
//! action has claimed it. Each claimed action is one item. The item is written only if there is no such item yet, or if
//! the existing one has expired.
//!
//! If the answer to a write is lost, the SDK sends the write again. DynamoDB then refuses the second write, although
//! the same caller sent both. So it can happen that no caller may do the action, but never that two callers may.

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
