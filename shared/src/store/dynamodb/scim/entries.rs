//! SCIM entries in DynamoDB. An entry is Flexgate's data about one SCIM user.
//!
//! Pointers are items that lead to an entry from its current Flex user, its username or its `externalId`. The same
//! transaction writes an entry and its pointers, and removes outdated pointers.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use serde_json::Value;

use super::super::{
    DynamoStore, Item, SK, TRIES, Transacted, corrupt, crowded, item_of, n, number, parsed, pause, s, seconds, text,
    unbuildable, updated_at,
};
use crate::domain::{FlexUserSid, Username};
use crate::store::scim::{Entry, Work, folded};
use crate::store::{StoreError, fingerprint};

/// The sort key of the item with the entry. The item's partition key contains the entry's `id`.
pub(super) const ENTRY: &str = "entry";
/// The prefix of the sort key of a pointer: an item that leads from a username or an `externalId` to an entry. The
/// entry's `id` follows the prefix.
const POINTER: &str = "entry#";
/// The sort key of the pointer from an entry's current Flex user to the entry. This pointer exists only if the current
/// user's SID differs from the entry's `id`.
const REACTIVATED: &str = "reactivated";

pub(super) fn pk(user: &FlexUserSid) -> String {
    format!("scim_user#{user}")
}

pub(super) fn name_pk(username: &Username) -> String {
    folded_name_pk(&folded(username.as_str()))
}

pub(super) fn folded_name_pk(name: &str) -> String {
    format!("scim_name#{}", fingerprint(&[name]))
}

pub(super) fn external_pk(external_id: &str) -> String {
    format!("scim_external_id#{}", fingerprint(&[external_id]))
}

fn pointers(entry: &Entry) -> BTreeSet<(String, String)> {
    let sk = format!("{POINTER}{}", entry.id);
    let name = (name_pk(&entry.username), sk.clone());
    let external = entry.external_id.as_deref().map(|external_id| (external_pk(external_id), sk));
    let current = (entry.current != entry.id).then(|| (pk(&entry.current), REACTIVATED.to_owned()));
    std::iter::once(name).chain(external).chain(current).collect()
}

impl DynamoStore {
    pub(super) async fn entries_of_users(&self, users: &[FlexUserSid]) -> Result<Vec<Entry>, StoreError> {
        let keys = users.iter().flat_map(|user| [(pk(user), ENTRY.to_owned()), (pk(user), REACTIVATED.to_owned())]);
        let (mut found, mut elsewhere) = (BTreeMap::new(), BTreeSet::new());
        for item in self.batch(keys.collect()).await? {
            if text(&item, SK)? == ENTRY {
                let entry = read(&item)?;
                found.insert(entry.id.clone(), entry);
            } else {
                elsewhere.insert(parsed::<FlexUserSid>(&item, "entry_id")?);
            }
        }
        elsewhere.retain(|id| !found.contains_key(id));
        for item in self.batch(elsewhere.iter().map(|id| (pk(id), ENTRY.to_owned())).collect()).await? {
            let entry = read(&item)?;
            found.insert(entry.id.clone(), entry);
        }
        Ok(found.into_values().collect())
    }

    /// Reads the pointers with the partition key `pointer_pk`, and returns the SCIM entries to which they lead, ordered
    /// by id. A pointer may be outdated, so the caller must check each entry.
    pub(super) async fn entries_at(&self, pointer_pk: &str) -> Result<Vec<Entry>, StoreError> {
        let pointers = self.items(pointer_pk, POINTER).await?;
        let ids = pointers.iter().map(|item| parsed::<FlexUserSid>(item, "entry_id")).collect::<Result<Vec<_>, _>>()?;
        let items = self.batch(ids.iter().map(|id| (pk(id), ENTRY.to_owned())).collect()).await?;
        let mut entries = items.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(entries)
    }

    /// Writes the SCIM entry and its pointers. If this write completes a piece of work (`finishes`), the same
    /// transaction removes the record of that work. Returns false if the stored entry has another version, or if
    /// another process has become the holder of the work.
    pub(super) async fn write_entry(&self, entry: &Entry, finishes: Option<&Work>) -> Result<bool, StoreError> {
        for tried in 0..TRIES {
            if let Some(work) = finishes
                && self.is_somebody_elses(work).await?
            {
                return Ok(false);
            }
            let before = self.item(&pk(&entry.id), ENTRY).await?.as_ref().map(read).transpose()?;
            if before.as_ref().map_or(0, |before| before.version) != entry.version {
                return Ok(false);
            }
            let (old, new) = (before.as_ref().map(pointers).unwrap_or_default(), pointers(entry));
            let mut writes = vec![self.entry_over(entry)?];
            for (pk, sk) in new.difference(&old) {
                writes.push(self.put(item_of(pk, sk, [("entry_id", s(entry.id.as_str()))]), None)?);
            }
            for (pk, sk) in old.difference(&new) {
                writes.push(self.delete(pk, sk, Some(("entry_id", s(entry.id.as_str()))))?);
            }
            writes.extend(finishes.map(|work| self.finishing(work)).transpose()?);
            match self.transact(writes).await? {
                Transacted::Yes => return Ok(true),
                Transacted::No => pause(tried).await,
            }
        }
        Err(crowded())
    }

    fn entry_over(&self, entry: &Entry) -> Result<TransactWriteItem, StoreError> {
        let mut item = item_of(
            &pk(&entry.id),
            ENTRY,
            [
                ("entry_id", s(entry.id.as_str())),
                ("current_sid", s(entry.current.as_str())),
                ("user_name", s(entry.username.as_str())),
                ("asserted_json", s(Value::Object(entry.asserted.clone()).to_string())),
                ("was_deleted", AttributeValue::Bool(entry.deleted)),
                ("entry_version", n(entry.version + 1)),
                ("updated_at", seconds(entry.updated_at)),
                ("updated_millis", n(entry.updated_at.millisecond())),
            ],
        );
        item.extend(entry.external_id.as_deref().map(|external_id| ("external_id".to_owned(), s(external_id))));
        let put = Put::builder().table_name(&*self.table).set_item(Some(item));
        let put = if entry.version == 0 {
            put.condition_expression("attribute_not_exists(pk)")
        } else {
            put.condition_expression("entry_version = :version")
                .expression_attribute_values(":version", n(entry.version))
        };
        Ok(TransactWriteItem::builder().put(put.build().map_err(unbuildable)?).build())
    }
}

pub(super) fn read(item: &Item) -> Result<Entry, StoreError> {
    Ok(Entry {
        id: parsed(item, "entry_id")?,
        current: parsed(item, "current_sid")?,
        username: parsed(item, "user_name")?,
        external_id: item
            .contains_key("external_id")
            .then(|| text(item, "external_id").map(str::to_owned))
            .transpose()?,
        asserted: serde_json::from_str(text(item, "asserted_json")?).map_err(corrupt)?,
        deleted: matches!(item.get("was_deleted"), Some(AttributeValue::Bool(true))),
        version: number(item, "entry_version")?,
        updated_at: updated_at(item)?,
    })
}
