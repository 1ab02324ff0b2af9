//! The username index in DynamoDB. It contains an entry for each Flex user, under a digest of the username in lower
//! case and NFC.
//!
//! A sweep writes every Flex user to the index, and finally stores its own start time. A user whose entry is older than
//! that time no longer exists in Flex, so readers ignore the entry.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future, stream};
use time::OffsetDateTime;

use super::{DynamoStore, Item, SK, corrupt, item_of, n, number, parsed, refused, s};
use crate::domain::UsernameKey;
use crate::store::{SeenUser, StoreError, UsernameIndex, fingerprint};

const WALK: &str = "walk";
const LAST: &str = "last";
/// The prefix of every Flex user's SID.
const SID: &str = "FU";

/// How many users are written concurrently, each with its own request. A batch write would be no help: it allows no
/// conditions, and each of these writes needs one.
const AT_ONCE: usize = 8;

fn pk(key: &UsernameKey) -> String {
    format!("seen#{}", fingerprint(&[key.as_str()]))
}

#[async_trait]
impl UsernameIndex for DynamoStore {
    async fn put_seen(&self, seen: &[SeenUser], at: OffsetDateTime) -> Result<(), StoreError> {
        // Concurrent writes can finish in any order, so only the last entry for each user is written.
        let items: BTreeMap<_, _> =
            seen.iter().map(|user| ((&user.key, &user.flex_user_sid), item_of_seen(user, at))).collect();
        let writes = stream::iter(items.into_values()).map(|item| self.put_later(item, "seen_at", at));
        writes.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn seen(&self, key: &UsernameKey) -> Result<Vec<SeenUser>, StoreError> {
        let pk = pk(key);
        let (items, walk) = future::try_join(self.items(&pk, SID).boxed(), self.walk_began().boxed()).await?;
        let mut seen = Vec::new();
        for item in items {
            if Some(number::<i128>(&item, "seen_at")?) >= walk {
                seen.push(SeenUser {
                    key: key.clone(),
                    username: parsed(&item, "user_name")?,
                    flex_user_sid: parsed(&item, SK)?,
                    active: item.get("is_active") == Some(&AttributeValue::Bool(true)),
                });
            }
        }
        seen.sort_by_key(|user| !user.active);
        Ok(seen)
    }

    async fn finish_walk(&self, began: OffsetDateTime) -> Result<(), StoreError> {
        let item = item_of(WALK, LAST, [("walk_began", nanos(began))]);
        self.put_later(item, "walk_began", began).await
    }

    async fn last_walk(&self) -> Result<Option<OffsetDateTime>, StoreError> {
        let began = self.walk_began().await?;
        began.map(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(corrupt)).transpose()
    }
}

impl DynamoStore {
    /// Writes the item, unless the stored item's `attribute` is later than `at`.
    async fn put_later(&self, item: Item, attribute: &str, at: OffsetDateTime) -> Result<(), StoreError> {
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
        let request = request
            .condition_expression(format!("attribute_not_exists(pk) OR {attribute} <= :at"))
            .expression_attribute_values(":at", nanos(at));
        refused(request.send().await).map(drop)
    }

    async fn walk_began(&self) -> Result<Option<i128>, StoreError> {
        self.item(WALK, LAST).await?.map(|item| number(&item, "walk_began")).transpose()
    }
}

fn item_of_seen(user: &SeenUser, at: OffsetDateTime) -> Item {
    let attributes = [
        ("user_name", s(user.username.as_str())),
        ("is_active", AttributeValue::Bool(user.active)),
        ("seen_at", nanos(at)),
    ];
    item_of(&pk(&user.key), user.flex_user_sid.as_str(), attributes)
}

/// Returns the time in nanoseconds, because the index must know the order of two changes even if both happen in the
/// same millisecond.
fn nanos(moment: OffsetDateTime) -> AttributeValue {
    n(moment.unix_timestamp_nanos())
}
