//! Claims: an item each, written only where none is or where its time is over. If the answer to a
//! write is lost and the write is sent again, the first claimant is told no: one claim too few, never
//! one too many.

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
