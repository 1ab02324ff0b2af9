//! SCIM groups in DynamoDB. A group consists of a head item with the group's own data, and several items with its
//! members, called buckets. All heads share one partition key and are sorted by id.
//!
//! One transaction writes the head and the changed buckets. The head records the version of each bucket. So a reader
//! notices if another process writes the group between the reads of the head and the buckets.
//!
//! Each member has one more item, called the mark, which lists the member's groups. When a user joins a group, the mark
//! is written before the group. Nothing is ever removed from a mark. It may therefore list groups that the user has
//! left, and readers check each group.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{AttributeValue, Put, Select, TransactWriteItem};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::super::{
    DynamoStore, Item, PK, SK, TRIES, Transacted, corrupt, crowded, item_of, moment, n, number, pause, s, seconds,
    text, unavailable, unbuildable, updated_at,
};
use crate::domain::{FlexUserSid, Role};
use crate::store::scim::{Group, GroupWritten, Member, Membership, folded};
use crate::store::{StoreError, fingerprint};

const HEADS: &str = "scim_groups";
const NAMED: &str = "group";
const MARK: &str = "groups";

/// The number of buckets (items with members) of each SCIM group. In a group of 10,000 members, a bucket has 28 kB.
/// DynamoDB allows 400 kB per item.
const BUCKETS: u8 = 16;

/// The number of marks that are written concurrently. A mark is a member's list of groups.
const AT_ONCE: usize = 16;

fn members_pk(group: &str) -> String {
    format!("scim_group#{group}")
}

fn name_pk(display_name: &str) -> String {
    folded_name_pk(&folded(display_name))
}

fn folded_name_pk(name: &str) -> String {
    format!("scim_group_name#{}", fingerprint(&[name]))
}

fn mark_pk(user: &FlexUserSid) -> String {
    format!("scim_member#{user}")
}

/// Returns the number of the bucket (item with members) for a user, computed from the last character of the SID. SIDs
/// are random, so all buckets have about the same size.
fn bucket(user: &FlexUserSid) -> u8 {
    user.as_str().bytes().last().map_or(0, |digit| if digit.is_ascii_digit() { digit } else { digit + 9 } % BUCKETS)
}

fn bucket_sk(bucket: u8) -> String {
    format!("members#{bucket:02}")
}

/// A SCIM group without its members, and the version of each bucket (item with members).
#[derive(Debug, Clone)]
struct Head {
    group: Group,
    buckets: BTreeMap<u8, u64>,
}

impl DynamoStore {
    async fn head(&self, id: &str) -> Result<Option<Head>, StoreError> {
        self.item(HEADS, id).await?.as_ref().map(read_head).transpose()
    }

    pub(super) async fn whole_group(&self, id: &str) -> Result<Option<Group>, StoreError> {
        Ok(self.whole(id).await?.map(|head| head.group))
    }

    async fn whole(&self, id: &str) -> Result<Option<Head>, StoreError> {
        for tried in 0..TRIES {
            let Some(mut head) = self.head(id).await? else { return Ok(None) };
            let items = self.items(&members_pk(id), "members#").await?;
            let (mut members, mut seen) = (Vec::new(), BTreeMap::new());
            for item in &items {
                seen.insert(number(item, "bucket_number")?, number(item, "bucket_version")?);
                members.extend(read_members(item)?);
            }
            if seen == head.buckets {
                members.sort_by(|a, b| a.user.cmp(&b.user));
                head.group.members = members;
                return Ok(Some(head));
            }
            pause(tried).await;
        }
        Err(crowded())
    }

    pub(super) async fn group_id_of_name(&self, display_name: &str) -> Result<Option<String>, StoreError> {
        let mut item = self.item(&name_pk(display_name), NAMED).await?;
        // Version 0.2.0 computed this key from the name without Unicode composition. If no item has the new key, look
        // for an item with the old key.
        let old = display_name.to_lowercase();
        if item.is_none() && old != folded(display_name) {
            item = self.item(&folded_name_pk(&old), NAMED).await?;
        }
        item.map(|item| text(&item, "group_id").map(str::to_owned)).transpose()
    }

    pub(super) async fn groups_after(&self, after: &str, skip: u64, limit: u64) -> Result<Vec<Group>, StoreError> {
        let (mut groups, mut from, mut left) = (Vec::new(), None, skip);
        loop {
            let request = self.client().await.query().table_name(&*self.table).consistent_read(true);
            let request = request
                // An empty `after` means "from the start", but a DynamoDB key cannot be empty. `!` sorts before every
                // character of an id.
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":pk", s(HEADS))
                .expression_attribute_values(":after", s(if after.is_empty() { "!" } else { after }));
            let page = request.set_exclusive_start_key(from).send().await.map_err(unavailable)?;
            for item in page.items.unwrap_or_default() {
                if groups.len() as u64 >= limit {
                    return Ok(groups);
                }
                if left > 0 {
                    left -= 1;
                    continue;
                }
                // A group can disappear after this query has read its head item. Such a group is left out.
                groups.extend(self.whole_group(text(&item, SK)?).await?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(groups);
            }
        }
    }

    pub(super) async fn number_of_groups(&self) -> Result<u64, StoreError> {
        let (mut count, mut from) = (0, None);
        loop {
            let request = self.client().await.query().table_name(&*self.table).consistent_read(true);
            let request = request
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", s(HEADS))
                .select(Select::Count);
            let page = request.set_exclusive_start_key(from).send().await.map_err(unavailable)?;
            count += u64::from(page.count.unsigned_abs());
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    pub(super) async fn write_group(&self, group: &Group) -> Result<GroupWritten, StoreError> {
        for tried in 0..TRIES {
            if self.group_id_of_name(&group.display_name).await?.is_some_and(|id| id != group.id) {
                return Ok(GroupWritten::NameTaken);
            }
            let before = self.whole(&group.id).await?;
            if before.as_ref().map_or(0, |before| before.group.version) != group.version {
                return Ok(GroupWritten::Moved);
            }
            self.mark_members(group, before.as_ref().map(|head| &head.group)).await?;
            match self.transact(self.writes(group, before.as_ref())?).await? {
                Transacted::Yes => return Ok(GroupWritten::Yes),
                Transacted::No => pause(tried).await,
            }
        }
        Err(crowded())
    }

    /// Builds the writes that replace the group `before` with `group`: the head item, the item for the name, and the
    /// changed buckets of members.
    fn writes(&self, group: &Group, before: Option<&Head>) -> Result<Vec<TransactWriteItem>, StoreError> {
        let (old, new) = (before.map(|head| by_bucket(&head.group)).unwrap_or_default(), by_bucket(group));
        let mut buckets = before.map(|head| head.buckets.clone()).unwrap_or_default();
        let mut writes = Vec::new();
        for number in 0..BUCKETS {
            let (was, is) = (old.get(&number), new.get(&number));
            match is {
                Some(members) if was != is => {
                    buckets.insert(number, group.version + 1);
                    writes.push(self.put(bucket_item(&group.id, number, members, group.version + 1), None)?);
                }
                None if was.is_some() => {
                    buckets.remove(&number);
                    writes.push(self.delete(&members_pk(&group.id), &bucket_sk(number), None)?);
                }
                _ => {}
            }
        }
        writes.push(self.head_over(group, &buckets)?);
        let name = name_pk(&group.display_name);
        if let Some(old) = before.map(|head| name_pk(&head.group.display_name)).filter(|old| *old != name) {
            writes.push(self.delete(&old, NAMED, Some(("group_id", s(&group.id))))?);
        }
        let named = Put::builder()
            .table_name(&*self.table)
            .set_item(Some(item_of(&name, NAMED, [("group_id", s(&group.id))])))
            .condition_expression("attribute_not_exists(pk) OR group_id = :id")
            .expression_attribute_values(":id", s(&group.id));
        writes.push(TransactWriteItem::builder().put(named.build().map_err(unbuildable)?).build());
        Ok(writes)
    }

    fn head_over(&self, group: &Group, buckets: &BTreeMap<u8, u64>) -> Result<TransactWriteItem, StoreError> {
        let mut item = item_of(
            HEADS,
            &group.id,
            [
                ("display_name", s(&group.display_name)),
                ("group_version", n(group.version + 1)),
                ("created_at", seconds(group.created_at)),
                ("updated_at", seconds(group.updated_at)),
                ("updated_millis", n(group.updated_at.millisecond())),
                ("bucket_versions", s(serde_json::to_string(buckets).map_err(corrupt)?)),
            ],
        );
        item.extend(group.external_id.as_deref().map(|id| ("external_id".to_owned(), s(id))));
        let put = Put::builder().table_name(&*self.table).set_item(Some(item));
        let put = if group.version == 0 {
            put.condition_expression("attribute_not_exists(pk)")
        } else {
            put.condition_expression("group_version = :version")
                .expression_attribute_values(":version", n(group.version))
        };
        Ok(TransactWriteItem::builder().put(put.build().map_err(unbuildable)?).build())
    }

    /// Adds the group to each new member's mark, which lists the member's groups.
    async fn mark_members(&self, group: &Group, before: Option<&Group>) -> Result<(), StoreError> {
        let known: BTreeSet<_> = before.iter().flat_map(|group| &group.members).map(|member| &member.user).collect();
        let new = group.members.iter().map(|member| &member.user).filter(|user| !known.contains(user));
        let new: Vec<FlexUserSid> = new.cloned().collect();
        futures_util::stream::iter(new)
            .map(|user| async move {
                let request = self.update(&mark_pk(&user), MARK).await.update_expression("ADD group_ids :group");
                let group = AttributeValue::Ss(vec![group.id.clone()]);
                request.expression_attribute_values(":group", group).send().await.map(drop).map_err(unavailable)
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Applies `change` to the user's membership in the group. Removes the membership if `change` returns false.
    pub(super) async fn change_member(
        &self,
        group: &str,
        user: &FlexUserSid,
        change: impl Fn(&mut Member) -> bool + Send,
    ) -> Result<(), StoreError> {
        for tried in 0..TRIES {
            let Some(before) = self.whole(group).await? else { return Ok(()) };
            let mut after = before.group.clone();
            after.members.retain_mut(|member| member.user != *user || change(member));
            match self.transact(self.writes(&after, Some(&before))?).await? {
                Transacted::Yes => return Ok(()),
                Transacted::No => pause(tried).await,
            }
        }
        Err(crowded())
    }

    pub(super) async fn drop_group(&self, id: &str, version: u64) -> Result<bool, StoreError> {
        for tried in 0..TRIES {
            let Some(head) = self.head(id).await?.filter(|head| head.group.version == version) else {
                return Ok(false);
            };
            let version = ("group_version", n(version));
            let mut writes = vec![self.delete(HEADS, id, Some(version))?];
            writes.push(self.delete(&name_pk(&head.group.display_name), NAMED, Some(("group_id", s(id))))?);
            for number in head.buckets.keys() {
                writes.push(self.delete(&members_pk(id), &bucket_sk(*number), None)?);
            }
            match self.transact(writes).await? {
                Transacted::Yes => return Ok(true),
                Transacted::No => pause(tried).await,
            }
        }
        Err(crowded())
    }

    pub(super) async fn memberships_of(&self, users: &[FlexUserSid]) -> Result<Vec<Membership>, StoreError> {
        let marks = self.batch(users.iter().map(|user| (mark_pk(user), MARK.to_owned())).collect()).await?;
        let mut wanted: BTreeMap<String, BTreeSet<FlexUserSid>> = BTreeMap::new();
        for item in &marks {
            let user = text(item, PK)?.trim_start_matches("scim_member#");
            let user: FlexUserSid = user.parse().map_err(corrupt)?;
            for group in item.get("group_ids").and_then(|ids| ids.as_ss().ok()).into_iter().flatten() {
                wanted.entry(group.clone()).or_default().insert(user.clone());
            }
        }
        let buckets = wanted.iter().flat_map(|(group, users)| {
            let numbers: BTreeSet<u8> = users.iter().map(bucket).collect();
            numbers.into_iter().map(move |number| (members_pk(group), bucket_sk(number)))
        });
        let heads = wanted.keys().map(|group| (HEADS.to_owned(), group.clone()));
        let items = self.batch(heads.chain(buckets).collect()).await?;
        let mut names = BTreeMap::new();
        for item in items.iter().filter(|item| text(item, PK).is_ok_and(|pk| pk == HEADS)) {
            names.insert(text(item, SK)?, text(item, "display_name")?);
        }
        let mut found = Vec::new();
        for item in &items {
            let group = text(item, PK)?.trim_start_matches("scim_group#");
            let (Some(name), Some(users)) = (names.get(group), wanted.get(group)) else { continue };
            for member in read_members(item)?.into_iter().filter(|member| users.contains(&member.user)) {
                found.push(Membership {
                    user: member.user,
                    group: group.to_owned(),
                    display_name: (*name).to_owned(),
                    present: member.present,
                });
            }
        }
        found.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(found)
    }
}

fn by_bucket(group: &Group) -> BTreeMap<u8, Vec<&Member>> {
    let mut buckets: BTreeMap<u8, Vec<&Member>> = BTreeMap::new();
    for member in &group.members {
        buckets.entry(bucket(&member.user)).or_default().push(member);
    }
    buckets
}

fn bucket_item(group: &str, number: u8, members: &[&Member], version: u64) -> Item {
    let row = |member: &&Member| json!([member.user.as_str(), member.present, member.announced.map(Role::as_str)]);
    let rows: Value = members.iter().map(row).collect();
    let attributes =
        [("bucket_number", n(number)), ("bucket_version", n(version)), ("members_json", s(rows.to_string()))];
    item_of(&members_pk(group), &bucket_sk(number), attributes)
}

fn read_members(item: &Item) -> Result<Vec<Member>, StoreError> {
    let rows: Vec<(String, bool, Option<String>)> =
        serde_json::from_str(text(item, "members_json")?).map_err(corrupt)?;
    let read = |(user, present, role): (String, bool, Option<String>)| {
        let user = user.parse().map_err(corrupt)?;
        let announced = role.map(|role| role.parse::<Role>()).transpose().map_err(corrupt)?;
        Ok(Member { user, present, announced })
    };
    rows.into_iter().map(read).collect()
}

fn read_head(item: &Item) -> Result<Head, StoreError> {
    let group = Group {
        id: text(item, SK)?.to_owned(),
        display_name: text(item, "display_name")?.to_owned(),
        external_id: item
            .contains_key("external_id")
            .then(|| text(item, "external_id").map(str::to_owned))
            .transpose()?,
        members: Vec::new(),
        version: number(item, "group_version")?,
        created_at: moment(item, "created_at")?,
        updated_at: updated_at(item)?,
    };
    let buckets = serde_json::from_str(text(item, "bucket_versions")?).map_err(corrupt)?;
    Ok(Head { group, buckets })
}
