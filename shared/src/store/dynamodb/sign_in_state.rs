//! Stores the sign-in switch in DynamoDB, as one item. With this switch, an operator ends all sessions or stops all
//! sign-ins.

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use time::OffsetDateTime;

use super::{DynamoStore, PK, SK, moment, s, seconds};
use crate::store::{SignInState, SignInSwitch, StoreError};

/// The item's partition key and sort key.
const STATE: &str = "sign_in_state";

#[async_trait]
impl SignInSwitch for DynamoStore {
    async fn sign_in_state(&self) -> Result<SignInState, StoreError> {
        let Some(item) = self.item(STATE, STATE).await? else { return Ok(SignInState::default()) };
        let optional = |name: &str| if item.contains_key(name) { moment(&item, name).map(Some) } else { Ok(None) };
        Ok(SignInState { locked_at: optional("locked_at")?, ended_at: optional("ended_at")? })
    }

    async fn set_lock(&self, locked_at: Option<OffsetDateTime>) -> Result<(), StoreError> {
        let update = self.update_state().await;
        let update = match locked_at {
            Some(at) => update.update_expression("SET locked_at = :at").expression_attribute_values(":at", seconds(at)),
            None => update.update_expression("REMOVE locked_at"),
        };
        self.send_update(update).await.map(drop)
    }

    async fn end_until(&self, at: OffsetDateTime) -> Result<(), StoreError> {
        let update = self.update_state().await.update_expression("SET ended_at = :at");
        let update = update
            .condition_expression("attribute_not_exists(ended_at) OR ended_at < :at")
            .expression_attribute_values(":at", seconds(at));
        self.send_update(update).await.map(drop)
    }
}

impl DynamoStore {
    async fn update_state(&self) -> UpdateItemFluentBuilder {
        self.client().await.update_item().table_name(&*self.table).key(PK, s(STATE)).key(SK, s(STATE))
    }
}
