//! The SCIM store in DynamoDB: [`entries`], [`groups`], page marks, and records of work that only one process may do at
//! a time.
//!
//! A page mark contains Twilio's token for the page of users that begins at a certain index. The key of a page mark
//! contains a generation number. Incrementing this number invalidates all existing page marks.

mod entries;
mod groups;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, ReturnValue, TransactWriteItem};
use time::OffsetDateTime;

use super::{
    DynamoStore, EXPIRES_AT, Item, PK, SK, TRIES, crowded, item_of, moment, n, number, pause, refused, s, seconds,
    text, unavailable, unbuildable,
};
use crate::domain::{FlexUserSid, Username};
use crate::store::scim::{Begun, Entry, Group, GroupWritten, Mark, Membership, ScimStore, Work, folded};
use crate::store::{StoreError, fingerprint};

/// Returns the name as it appears in the keys of version 0.2.0, which did not apply Unicode composition. Returns `None`
/// if the name is the same in the keys of this version.
fn old_fold(name: &str) -> Option<String> {
    Some(name.to_lowercase()).filter(|old| *old != folded(name))
}

/// The sort key of the record of a piece of work.
const WORK: &str = "work";
/// The partition key of an item with two values: the number of users, and the generation number of the page marks.
const LIST: &str = "scim_list";
const LIST_STATE: &str = "state";

/// The condition for changing the record of a piece of work: the caller still has the right to do the work.
const IF_HELD: &str = "holder = :holder";

fn work_pk(work: &Work) -> String {
    format!("scim_work#{}", fingerprint(&[&work.name]))
}

#[async_trait]
impl ScimStore for DynamoStore {
    async fn entry(&self, id: &FlexUserSid) -> Result<Option<Entry>, StoreError> {
        self.item(&entries::pk(id), entries::ENTRY).await?.as_ref().map(entries::read).transpose()
    }

    async fn entries(&self, users: &[FlexUserSid]) -> Result<Vec<Entry>, StoreError> {
        self.entries_of_users(users).await
    }

    async fn entry_named(&self, username: &Username) -> Result<Option<Entry>, StoreError> {
        let mut named = self.entries_at(&entries::name_pk(username)).await?;
        if let Some(old) = old_fold(username.as_str()) {
            named.extend(self.entries_at(&entries::folded_name_pk(&old)).await?);
        }
        let same = |entry: &Entry| folded(entry.username.as_str()) == folded(username.as_str());
        // An entry that is not deleted takes precedence over a deleted one.
        Ok(named.into_iter().filter(same).min_by_key(|entry| (entry.deleted, entry.id.clone())))
    }

    async fn entries_of_external_id(&self, external_id: &str) -> Result<Vec<Entry>, StoreError> {
        let mut found = self.entries_at(&entries::external_pk(external_id)).await?;
        found.retain(|entry| !entry.deleted && entry.external_id.as_deref() == Some(external_id));
        found.truncate(100);
        Ok(found)
    }

    async fn put_entry(&self, entry: &Entry, finishes: Option<&Work>) -> Result<bool, StoreError> {
        self.write_entry(entry, finishes).await
    }

    async fn group(&self, id: &str) -> Result<Option<Group>, StoreError> {
        self.whole_group(id).await
    }

    async fn group_named(&self, display_name: &str) -> Result<Option<Group>, StoreError> {
        match self.group_id_of_name(display_name).await? {
            Some(id) => self.whole_group(&id).await,
            None => Ok(None),
        }
    }

    async fn groups(&self, after: &str, skip: u64, limit: u64) -> Result<Vec<Group>, StoreError> {
        self.groups_after(after, skip, limit).await
    }

    async fn count_groups(&self) -> Result<u64, StoreError> {
        self.number_of_groups().await
    }

    async fn put_group(&self, group: &Group) -> Result<GroupWritten, StoreError> {
        self.write_group(group).await
    }

    async fn remove_group(&self, id: &str, version: u64) -> Result<bool, StoreError> {
        self.drop_group(id, version).await
    }

    async fn memberships(&self, users: &[FlexUserSid]) -> Result<Vec<Membership>, StoreError> {
        self.memberships_of(users).await
    }

    async fn leave_all(&self, user: &FlexUserSid) -> Result<(), StoreError> {
        for membership in self.memberships_of(std::slice::from_ref(user)).await? {
            self.change_member(&membership.group, user, |_| false).await?;
        }
        Ok(())
    }

    async fn begin(&self, work: &Work, now: OffsetDateTime, until: OffsetDateTime) -> Result<Begun, StoreError> {
        for tried in 0..TRIES {
            let request = self
                .update(&work_pk(work), WORK)
                .await
                .update_expression(
                    "SET leased_until = :until, holder = :holder, was_intended = if_not_exists(was_intended, :no)",
                )
                // If the answer to this request is lost, the SDK repeats the request. So the condition must also accept
                // a second request from the same holder.
                .condition_expression("attribute_not_exists(pk) OR leased_until <= :now OR holder = :holder")
                .expression_attribute_values(":until", seconds(until))
                .expression_attribute_values(":now", seconds(now))
                .expression_attribute_values(":holder", holder(work))
                .expression_attribute_values(":no", AttributeValue::Bool(false))
                .return_values(ReturnValue::AllNew);
            if let Some(begun) = self.send_update(request).await? {
                let intended = begun.attributes.and_then(|item| item.get("was_intended")?.as_bool().ok().copied());
                return Ok(Begun::Yes { intended: intended == Some(true) });
            }
            let held = self.item(&work_pk(work), WORK).await?;
            match held.map(|item| moment(&item, "leased_until")).transpose()? {
                Some(until) if until.unix_timestamp() > now.unix_timestamp() => return Ok(Begun::Held(until)),
                // Between the failed update and this read, the other holder has finished or abandoned the work. So the
                // next attempt can succeed.
                _ => pause(tried).await,
            }
        }
        Err(crowded())
    }

    async fn intend(&self, work: &Work) -> Result<bool, StoreError> {
        let request = self.update(&work_pk(work), WORK).await.update_expression("SET was_intended = :yes");
        let request = request.expression_attribute_values(":yes", AttributeValue::Bool(true));
        self.if_held(request, work).await
    }

    async fn abandon(&self, work: &Work) -> Result<(), StoreError> {
        let request =
            self.update(&work_pk(work), WORK).await.update_expression("SET leased_until = :never REMOVE holder");
        self.if_held(request.expression_attribute_values(":never", n(0)), work).await.map(drop)
    }

    async fn finish(&self, work: &Work) -> Result<(), StoreError> {
        let request = self.client().await.delete_item().table_name(&*self.table);
        let request = request.key(PK, s(work_pk(work))).key(SK, s(WORK)).condition_expression(IF_HELD);
        refused(request.expression_attribute_values(":holder", holder(work)).send().await).map(drop)
    }

    async fn mark_before(&self, index: u64, now: OffsetDateTime) -> Result<Option<Mark>, StoreError> {
        let pk = marks_pk(&self.list().await?)?;
        let mut from = None;
        loop {
            let request = self.client().await.query().table_name(&*self.table).consistent_read(true);
            let request = request
                .key_condition_expression("pk = :pk AND sk <= :index")
                .filter_expression("expires_at > :now")
                .expression_attribute_values(":pk", s(&pk))
                .expression_attribute_values(":index", s(mark_sk(index)))
                .expression_attribute_values(":now", seconds(now))
                .scan_index_forward(false)
                // Two items per request are enough, because the first one is nearly always a page mark that has not
                // expired.
                .limit(2);
            let page = request.set_exclusive_start_key(from).send().await.map_err(unavailable)?;
            if let Some(item) = page.items.unwrap_or_default().first() {
                return Ok(Some(Mark {
                    index: number(item, "first_index")?,
                    token: text(item, "page_token")?.to_owned(),
                }));
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(None);
            }
        }
    }

    async fn put_mark(&self, mark: &Mark, until: OffsetDateTime) -> Result<(), StoreError> {
        let pk = marks_pk(&self.list().await?)?;
        let attributes = [("first_index", n(mark.index)), ("page_token", s(&mark.token)), (EXPIRES_AT, seconds(until))];
        let item = item_of(&pk, &mark_sk(mark.index), attributes);
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(unavailable)
    }

    async fn total(&self, now: OffsetDateTime) -> Result<Option<u64>, StoreError> {
        let state = self.list().await?;
        let known = state.contains_key("user_total") && number::<i64>(&state, "total_until")? > now.unix_timestamp();
        known.then(|| number(&state, "user_total")).transpose()
    }

    async fn put_total(&self, total: u64, until: OffsetDateTime) -> Result<(), StoreError> {
        let request = self
            .update(LIST, LIST_STATE)
            .await
            .update_expression("SET user_total = :total, total_until = :until")
            .expression_attribute_values(":total", n(total))
            .expression_attribute_values(":until", seconds(until));
        request.send().await.map(drop).map_err(unavailable)
    }

    async fn forget_marks(&self) -> Result<(), StoreError> {
        let request = self
            .update(LIST, LIST_STATE)
            .await
            .update_expression("ADD mark_generation :one REMOVE user_total, total_until")
            .expression_attribute_values(":one", n(1));
        request.send().await.map(drop).map_err(unavailable)
    }
}

impl DynamoStore {
    async fn update(&self, pk: &str, sk: &str) -> UpdateItemFluentBuilder {
        self.client().await.update_item().table_name(&*self.table).key(PK, s(pk)).key(SK, s(sk))
    }

    /// Sends the update if this process still has the right to do the work. Returns false if it has lost that right.
    async fn if_held(&self, request: UpdateItemFluentBuilder, work: &Work) -> Result<bool, StoreError> {
        let request = request.condition_expression(IF_HELD).expression_attribute_values(":holder", holder(work));
        Ok(self.send_update(request).await?.is_some())
    }

    /// Builds the part of a transaction that removes the record of a piece of work. The transaction fails if another
    /// process has begun that work.
    fn finishing(&self, work: &Work) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder().table_name(&*self.table).key(PK, s(work_pk(work))).key(SK, s(WORK));
        let delete = delete.condition_expression("attribute_not_exists(holder) OR holder = :holder");
        let delete = delete.expression_attribute_values(":holder", holder(work)).build().map_err(unbuildable)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    async fn is_somebody_elses(&self, work: &Work) -> Result<bool, StoreError> {
        let item = self.item(&work_pk(work), WORK).await?.unwrap_or_default();
        Ok(item.get("holder").is_some_and(|by| *by != holder(work)))
    }

    async fn list(&self) -> Result<Item, StoreError> {
        Ok(self.item(LIST, LIST_STATE).await?.unwrap_or_default())
    }
}

/// Returns the holder's number in the form in which the table stores it.
fn holder(work: &Work) -> AttributeValue {
    s(format!("{:032x}", work.holder))
}

fn marks_pk(state: &Item) -> Result<String, StoreError> {
    let generation: u64 = if state.contains_key("mark_generation") { number(state, "mark_generation")? } else { 0 };
    Ok(format!("scim_marks#{generation}"))
}

/// Returns the sort key of a page mark. Zeros pad the index, so that the keys sort in numeric order.
fn mark_sk(index: u64) -> String {
    format!("{index:020}")
}
