//! The record in DynamoDB of when a person's sessions ended: one item for each [`EndingKey`] (Flex user, username or
//! identity).

use async_trait::async_trait;
use futures_util::future;
use time::OffsetDateTime;

use super::{DynamoStore, PK, SK, moment, s, seconds};
use crate::store::{EndedUntil, EndingKey, SessionEndings, StoreError};

const ENDING: &str = "ending";

fn pk(key: &EndingKey) -> String {
    format!("sessions_ended#{}", key.digest())
}

#[async_trait]
impl SessionEndings for DynamoStore {
    async fn record_ending(&self, keys: &[EndingKey], until: OffsetDateTime) -> Result<(), StoreError> {
        let updates = keys.iter().map(|key| async move {
            let update = self.client().await.update_item().table_name(&*self.table);
            let update = update
                .key(PK, s(pk(key)))
                .key(SK, s(ENDING))
                .update_expression("SET ended_until = :until")
                .condition_expression("attribute_not_exists(ended_until) OR ended_until < :until")
                .expression_attribute_values(":until", seconds(until));
            self.send_update(update).await.map(drop)
        });
        future::try_join_all(updates).await.map(drop)
    }

    async fn ended_until(&self, keys: &[EndingKey]) -> Result<EndedUntil, StoreError> {
        let found = self.batch(keys.iter().map(|key| (pk(key), ENDING.to_owned())).collect()).await?;
        let times = found.iter().map(|item| moment(item, "ended_until"));
        Ok(EndedUntil(times.collect::<Result<Vec<_>, _>>()?.into_iter().max()))
    }
}
