//! The return addresses of pending logins in DynamoDB. Each address is one item, which DynamoDB removes after it has
//! expired.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{DynamoStore, EXPIRES_AT, item_of, s, seconds, text, unavailable};
use crate::store::{ReturnAddresses, StoreError};

const ADDRESS: &str = "return_address";

fn pk(login: &str) -> String {
    format!("login#{login}")
}

#[async_trait]
impl ReturnAddresses for DynamoStore {
    async fn keep_address(
        &self,
        login: &str,
        sealed: String,
        _now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let item = item_of(&pk(login), ADDRESS, [("sealed_address", s(sealed)), (EXPIRES_AT, seconds(until))]);
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(unavailable)
    }

    async fn address_of(&self, login: &str) -> Result<Option<String>, StoreError> {
        let item = self.item(&pk(login), ADDRESS).await?;
        item.map(|item| text(&item, "sealed_address").map(str::to_owned)).transpose()
    }
}
