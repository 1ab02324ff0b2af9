//! Implements [`OnceOnly`] in DynamoDB. Each claimed action is one item. A claim succeeds only if there is no unexpired
//! item for the action.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{DynamoStore, EXPIRES_AT, item_of, refused, request_number, seconds};
use crate::store::{OnceOnly, StoreError, fingerprint};

const CLAIM: &str = "claim";
const NUMBER: &str = "request_number";

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
        let number = request_number();
        let item = item_of(&pk, CLAIM, [(NUMBER, number.clone()), (EXPIRES_AT, seconds(until))]);
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
        let request = request
            .condition_expression("attribute_not_exists(pk) OR expires_at < :now")
            .expression_attribute_values(":now", seconds(now));
        if refused(request.send().await)?.is_some() {
            return Ok(true);
        }
        // If the stored number is this request's number, an earlier attempt at this request succeeded, but its answer
        // was lost.
        Ok(self.item(&pk, CLAIM).await?.is_some_and(|claim| claim.get(NUMBER) == Some(&number)))
    }
}
