//! Implements [`OnceOnly`] in DynamoDB, so that only one caller performs an action. A caller first claims the action,
//! and each claim is one item. A claim succeeds if the action has no unexpired item, or if that item belongs to the
//! same holder.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{DynamoStore, EXPIRES_AT, item_of, refused, request_number, s, seconds};
use crate::store::{OnceOnly, StoreError, fingerprint, holder_mark};

const CLAIM: &str = "claim";
const NUMBER: &str = "request_number";
/// The attribute with the hash of the claim's holder. A claim without a holder does not have this attribute.
const HOLDER: &str = "held_for";

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

    /// If the answer is lost, the SDK repeats the request. The repeated request succeeds too, because it has the same
    /// holder.
    async fn claim_for(
        &self,
        holder: &[&str],
        kind: &str,
        what: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let pk = format!("claim#{}", fingerprint(&[kind, what]));
        let mark = s(holder_mark(kind, what, holder));
        let item = item_of(&pk, CLAIM, [(HOLDER, mark.clone()), (EXPIRES_AT, seconds(until))]);
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
        let request = request
            .condition_expression("attribute_not_exists(pk) OR expires_at < :now OR held_for = :holder")
            .expression_attribute_values(":now", seconds(now))
            .expression_attribute_values(":holder", mark);
        Ok(refused(request.send().await)?.is_some())
    }
}
