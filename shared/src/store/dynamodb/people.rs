//! The people ledger in DynamoDB.
//!
//! A person has several items:
//! * the head, with the person's own data and a version;
//! * one statement for each source, with everything that the source says about the person. Its partition key begins
//!   with the kind of the source, so that an IAM role can be limited to certain kinds of source
//!   (`dynamodb:LeadingKeys`);
//! * pointers, which lead to the person's id from the username, from each Flex user, and from each source's id for the
//!   person.
//!
//! A write succeeds only if the version in the head has not changed. So that people can be listed, their ids are also
//! stored under sixteen partition keys, one for each possible first digit of an id.

mod items;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, TransactWriteItem};
use futures_util::{FutureExt as _, future};
use time::OffsetDateTime;

use items::{HEAD, POINTER, Pointer, head_pk, inactive, pointers, shard, statement_key};

use super::{DynamoStore, PK, SK, TRIES, crowded, item_of, n, number, pause, request_number, s, text, unavailable};
use crate::domain::ledger::{Person, PersonId, Source, Statement};
use crate::domain::{FlexUserSid, SubjectId, UsernameKey};
use crate::store::StoreError;
use crate::store::people::{
    Deactivations, KnownUser, Noting, People, PersonKey, PersonLease, Stating, WhoIsWho, Written,
};

/// The sort key of a statement about a subject for whom the ledger has no person yet. The item has the same partition
/// key as the pointer that later leads from the subject to the person.
const UNATTACHED: &str = "unattached";

#[async_trait]
impl People for DynamoStore {
    async fn person(&self, key: &PersonKey) -> Result<Option<Person>, StoreError> {
        Ok(self.people(std::slice::from_ref(key)).await?.pop())
    }

    async fn people(&self, keys: &[PersonKey]) -> Result<Vec<Person>, StoreError> {
        let mut ids = BTreeSet::new();
        let mut elsewhere = BTreeSet::new();
        for key in keys {
            match key {
                PersonKey::Id(id) => drop(ids.insert(*id)),
                key => drop(elsewhere.insert((Pointer::of(key).pk(), POINTER.to_owned()))),
            }
        }
        for item in self.batch(elsewhere).await? {
            ids.insert(super::parsed(&item, "person_id")?);
        }
        self.load_people(ids).await
    }

    async fn page(&self, after: Option<PersonId>, limit: u32) -> Result<Vec<Person>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let first = after.chars().next().and_then(|digit| digit.to_digit(16)).unwrap_or(0);
        let mut ids = BTreeSet::new();
        for digit in first..16 {
            let left = limit - u32::try_from(ids.len()).unwrap_or(limit);
            if left == 0 {
                break;
            }
            let request = self.client().await.query().table_name(&*self.table).consistent_read(true);
            let request = request
                .key_condition_expression("pk = :pk AND sk > :after")
                .expression_attribute_values(":pk", s(shard(digit)))
                .expression_attribute_values(":after", s(if after.is_empty() { "-" } else { &after }))
                .limit(i32::try_from(left).unwrap_or(i32::MAX));
            // A page of a DynamoDB query has room for thousands of ids, so one request for each partition key is
            // enough.
            for item in request.send().await.map_err(unavailable)?.items.unwrap_or_default() {
                ids.insert(super::parsed(&item, SK)?);
            }
        }
        self.load_people(ids).await
    }

    async fn add(&self, person: &Person, instead_of: Option<&Person>) -> Result<Written, StoreError> {
        let pointers = pointers(person);
        let keys = pointers.iter().map(|pointer| (pointer.pk(), POINTER.to_owned()));
        let mut led_to = BTreeMap::new();
        for item in self.batch(keys.collect()).await? {
            led_to.insert(text(&item, PK)?.to_owned(), super::parsed(&item, "person_id")?);
        }
        if led_to.values().any(|id| Some(*id) != instead_of.map(|old| old.id)) {
            return Ok(Written::Moved);
        }
        let mut writes = vec![
            self.put(items::head(person)?, Some("attribute_not_exists(pk)"))?,
            self.put(item_of(&items::shard_of(person.id), &person.id.to_string(), []), None)?,
        ];
        for pointer in &pointers {
            writes.push(self.point(pointer, person.id, led_to.get(&pointer.pk()).copied())?);
        }
        for (source, statement) in &person.statements {
            let item = items::statement(person.id, 1, source, statement, person.subjects.get(source))?;
            writes.push(self.put(item, None)?);
        }
        if let Some(old) = instead_of {
            writes.extend(self.supersede(old, person)?);
        }
        self.written(writes, 1).await
    }

    async fn state(&self, person: PersonId, version: u64, stating: Stating<'_>) -> Result<Written, StoreError> {
        let Some(mut before) = self.person(&PersonKey::Id(person)).await? else { return Ok(Written::Moved) };
        if before.version != version {
            return Ok(Written::Moved);
        }
        let known = before.subjects.get(stating.source).cloned();
        let subject = stating.subject.or(known.as_ref());
        let statement = items::statement(person, version + 1, stating.source, stating.statement, subject)?;
        before.statements.insert(stating.source.clone(), stating.statement.clone());
        let inactive = (":inactive", AttributeValue::Bool(inactive(&before)));
        let source = (":source", AttributeValue::Ss(vec![stating.source.to_string()]));
        let head = if let Some(given) = stating.given {
            let set = "says_inactive = :inactive, given_json = :given ADD source_names :source";
            self.advance(person, version, set, [inactive, source, (":given", s(items::json(given)?))])?
        } else {
            self.advance(person, version, "says_inactive = :inactive ADD source_names :source", [inactive, source])?
        };
        let mut writes = vec![head, self.put(statement, None)?];
        if let Some(subject) = stating.subject.filter(|subject| Some(*subject) != known.as_ref()) {
            let pointer = Pointer::of(&PersonKey::Subject(stating.source.clone(), subject.clone()));
            writes.push(self.point_unless_taken(&pointer, person)?);
        }
        self.written(writes, version + 1).await
    }

    async fn note(&self, person: PersonId, version: u64, noting: Noting<'_>) -> Result<Written, StoreError> {
        let values = [(":given", s(items::json(noting.given)?)), (":name", s(noting.username.as_str()))];
        let mut writes = Vec::new();
        if let Some(sid) = noting.flex_user_sid {
            let [given, name] = values;
            let set = "given_json = :given, user_name = :name, flex_user_sid = :sid";
            writes.push(self.advance(person, version, set, [given, name, (":sid", s(sid.as_str()))])?);
            writes.push(self.point_unless_taken(&Pointer::of(&PersonKey::FlexUser(sid.clone())), person)?);
        } else {
            let set = "given_json = :given, user_name = :name REMOVE flex_user_sid";
            writes.push(self.advance(person, version, set, values)?);
        }
        self.written(writes, version + 1).await
    }

    async fn lease(
        &self,
        person: PersonId,
        holder: u128,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<PersonLease, StoreError> {
        for tried in 0..TRIES {
            let request = self.client().await.update_item().table_name(&*self.table);
            let request = request
                .key(PK, s(head_pk(person)))
                .key(SK, s(HEAD))
                .update_expression("SET lease_holder = :holder, leased_until = :until")
                // If the answer to this request is lost, the SDK repeats the request. So the condition must also accept
                // a lease of the same holder.
                .condition_expression(
                    "attribute_exists(pk) AND (attribute_not_exists(lease_holder) OR leased_until <= :now OR \
                     lease_holder = :holder)",
                )
                .expression_attribute_values(":holder", s(format!("{holder:032x}")))
                .expression_attribute_values(":until", n(millis(until)))
                .expression_attribute_values(":now", n(millis(now)))
                .return_values(ReturnValue::AllOld);
            if let Some(leased) = self.send_update(request).await? {
                let taken_over = leased.attributes.is_some_and(|old| old.contains_key("lease_holder"));
                return Ok(PersonLease::Granted { taken_over });
            }
            let Some(head) = self.item(&head_pk(person), HEAD).await? else { return Ok(PersonLease::Unknown) };
            if head.contains_key("lease_holder") {
                let until: i64 = number(&head, "leased_until")?;
                let until = OffsetDateTime::from_unix_timestamp_nanos(i128::from(until) * 1_000_000);
                return Ok(PersonLease::Held(until.map_err(super::corrupt)?));
            }
            // Another holder's lease made the update fail, but that holder has released its lease since. So the next
            // attempt can succeed.
            pause(tried).await;
        }
        Err(crowded())
    }

    async fn release(&self, person: PersonId, holder: u128, version: Option<u64>) -> Result<bool, StoreError> {
        let released = request_number();
        let same = if version.is_some() { " AND person_version = :version" } else { "" };
        let mut request = self
            .client()
            .await
            .update_item()
            .table_name(&*self.table)
            .key(PK, s(head_pk(person)))
            .key(SK, s(HEAD))
            .update_expression("SET release_number = :released REMOVE lease_holder, leased_until")
            .condition_expression(format!("lease_holder = :holder{same}"))
            .expression_attribute_values(":holder", s(format!("{holder:032x}")))
            .expression_attribute_values(":released", released.clone());
        if let Some(version) = version {
            request = request.expression_attribute_values(":version", n(version));
        }
        if self.send_update(request).await?.is_some() {
            return Ok(true);
        }
        // If the item contains the number of this request, an earlier attempt at this request succeeded, but its answer
        // was lost.
        let head = self.item(&head_pk(person), HEAD).await?;
        Ok(head.is_some_and(|head| head.get("release_number") == Some(&released)))
    }

    async fn unattached(&self, source: &Source, subject: &SubjectId) -> Result<Option<Statement>, StoreError> {
        let pointer = Pointer::of(&PersonKey::Subject(source.clone(), subject.clone()));
        let item = self.item(&pointer.pk(), UNATTACHED).await?;
        item.map(|item| serde_json::from_str(text(&item, "statement_json")?).map_err(super::corrupt)).transpose()
    }

    async fn keep_unattached(
        &self,
        source: &Source,
        subject: &SubjectId,
        statement: &Statement,
    ) -> Result<(), StoreError> {
        let pointer = Pointer::of(&PersonKey::Subject(source.clone(), subject.clone()));
        let item = item_of(&pointer.pk(), UNATTACHED, [("statement_json", s(items::json(statement)?))]);
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(unavailable)
    }
}

#[async_trait]
impl Deactivations for DynamoStore {
    async fn says_inactive(
        &self,
        user: Option<&FlexUserSid>,
        username: Option<&UsernameKey>,
    ) -> Result<bool, StoreError> {
        let user = user.map(|sid| Pointer::of(&PersonKey::FlexUser(sid.clone())));
        let username = username.map(|key| Pointer::of(&PersonKey::Username(key.clone())));
        let (by_user, by_name) =
            future::try_join(self.leads_to_inactive(user).boxed(), self.leads_to_inactive(username).boxed()).await?;
        Ok(by_user || by_name)
    }
}

#[async_trait]
impl WhoIsWho for DynamoStore {
    async fn who_is(&self, key: &PersonKey) -> Result<Option<KnownUser>, StoreError> {
        let Some(pointer) = self.item(&Pointer::of(key).pk(), POINTER).await? else { return Ok(None) };
        let Some(head) = self.item(&head_pk(super::parsed(&pointer, "person_id")?), HEAD).await? else {
            return Ok(None);
        };
        let person = items::read_head(&head)?;
        Ok(Some(KnownUser { username: person.username, flex_user_sid: person.flex_user_sid }))
    }
}

impl DynamoStore {
    /// Reads people, and returns them in the order of their ids. Reads each person's head first and the statements
    /// afterwards. If another process has written a statement in between, reads the person again.
    async fn load_people(&self, ids: BTreeSet<PersonId>) -> Result<Vec<Person>, StoreError> {
        let (mut people, mut left) = (BTreeMap::new(), ids);
        for tried in 0..TRIES {
            let mut torn = BTreeSet::new();
            self.load_once(&left, &mut people, &mut torn).await?;
            if torn.is_empty() {
                return Ok(people.into_values().collect());
            }
            left = torn;
            pause(tried).await;
        }
        Err(crowded())
    }

    async fn load_once(
        &self,
        ids: &BTreeSet<PersonId>,
        people: &mut BTreeMap<PersonId, Person>,
        torn: &mut BTreeSet<PersonId>,
    ) -> Result<(), StoreError> {
        let heads = self.batch(ids.iter().map(|id| (head_pk(*id), HEAD.to_owned())).collect()).await?;
        let mut statements = BTreeSet::new();
        for head in &heads {
            let person = items::read_head(head)?;
            for source in items::sources(head)? {
                statements.insert(statement_key(person.id, &source));
            }
            people.insert(person.id, person);
        }
        for item in self.batch(statements).await? {
            let id: PersonId = super::parsed(&item, "person_id")?;
            let Some(person) = people.get_mut(&id) else { continue };
            if items::is_newer(&item, person)? {
                torn.insert(id);
            }
            items::read_statement(&item, person)?;
        }
        Ok(())
    }

    async fn leads_to_inactive(&self, pointer: Option<Pointer>) -> Result<bool, StoreError> {
        let Some(pointer) = pointer else { return Ok(false) };
        let Some(pointer) = self.item(&pointer.pk(), POINTER).await? else { return Ok(false) };
        let head = self.item(&head_pk(super::parsed(&pointer, "person_id")?), HEAD).await?.unwrap_or_default();
        Ok(matches!(head.get("says_inactive"), Some(AttributeValue::Bool(true))))
    }

    async fn written(&self, writes: Vec<TransactWriteItem>, version: u64) -> Result<Written, StoreError> {
        Ok(if self.commit(writes).await? { Written::Yes(version) } else { Written::Moved })
    }
}

fn millis(moment: OffsetDateTime) -> i128 {
    moment.unix_timestamp_nanos() / 1_000_000
}
