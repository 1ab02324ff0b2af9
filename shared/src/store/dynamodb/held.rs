//! Usernames that subjects hold: an item under the name, which decides, and a mark under the subject,
//! by which everything it holds is made last or let go of.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use time::OffsetDateTime;

use super::{
    DynamoStore, EXPIRES_AT, Item, SK, TRIES, Transacted, crowded, item_of, number, pause, s, seconds, text,
    unbuildable,
};
use crate::domain::{SourceName, Username};
use crate::store::{StoreError, fingerprint};

const HELD: &str = "held";
const MARK: &str = "held#";

impl DynamoStore {
    /// See [`crate::store::Subjects::hold`]; `subject` is the subject's `pk`.
    pub(super) async fn hold_name(
        &self,
        source: &SourceName,
        username: &Username,
        subject: &str,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let name = format!("{MARK}{}", fingerprint(&[source.as_str(), username.as_str()]));
        for tried in 0..TRIES {
            let was = self.item(&name, HELD).await?;
            if let Some(was) = &was {
                let (own, ends) = (text(was, "held_by")? == subject, ends(was)?);
                let lasting = |than: OffsetDateTime| ends.is_none_or(|ends| ends > than.unix_timestamp());
                if own && (lasting(until) || ends == Some(until.unix_timestamp())) {
                    return Ok(true);
                }
                if !own && lasting(now) {
                    return Ok(false);
                }
            }
            let expires = [(EXPIRES_AT, seconds(until))];
            let mark = self.put(item_of(subject, &name, expires.clone()), None)?;
            let mut held = item_of(&name, HELD, expires);
            held.insert("held_by".to_owned(), s(subject));
            match self.transact(vec![self.held_over(held, was.as_ref())?, mark]).await? {
                Transacted::Yes => return Ok(true),
                Transacted::No => pause(tried).await,
            }
        }
        Err(crowded())
    }

    /// Parts of a transaction: makes what the subject holds last, or lets go of it.
    pub(super) async fn settle_names(&self, subject: &str, keep: bool) -> Result<Vec<TransactWriteItem>, StoreError> {
        let mut writes = Vec::new();
        for mark in self.items(subject, MARK).await? {
            let name = text(&mark, SK)?;
            let was = self.item(name, HELD).await?;
            let own = match &was {
                Some(was) => text(was, "held_by")? == subject,
                None => false,
            };
            match (own, keep) {
                (true, true) => {
                    if was.as_ref().is_some_and(|was| was.contains_key(EXPIRES_AT)) {
                        writes.push(self.held_over(item_of(name, HELD, [("held_by", s(subject))]), was.as_ref())?);
                        writes.push(self.put(item_of(subject, name, []), None)?);
                    }
                }
                (true, false) => {
                    writes.push(self.delete(name, HELD, Some(("held_by", s(subject))))?);
                    writes.push(self.delete(subject, name, None)?);
                }
                // It ran out, and the name is somebody else's or nobody's.
                (false, _) => writes.push(self.delete(subject, name, None)?),
            }
        }
        Ok(writes)
    }

    /// Writes the item if it still is what it was.
    fn held_over(&self, item: Item, was: Option<&Item>) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder().table_name(&*self.table).set_item(Some(item));
        let put = match was {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(was) => {
                let by = was.get("held_by").cloned().unwrap_or(AttributeValue::Null(true));
                let put = put.expression_attribute_values(":by", by);
                match was.get(EXPIRES_AT) {
                    Some(at) => put
                        .condition_expression("held_by = :by AND expires_at = :at")
                        .expression_attribute_values(":at", at.clone()),
                    None => put.condition_expression("held_by = :by AND attribute_not_exists(expires_at)"),
                }
            }
        };
        Ok(TransactWriteItem::builder().put(put.build().map_err(unbuildable)?).build())
    }
}

/// When the hold ends; `None` if it lasts.
fn ends(item: &Item) -> Result<Option<i64>, StoreError> {
    item.contains_key(EXPIRES_AT).then(|| number(item, EXPIRES_AT)).transpose()
}
