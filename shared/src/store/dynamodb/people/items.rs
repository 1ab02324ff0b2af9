//! The DynamoDB items of a person, and the parts of transactions that change these items.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};

use super::super::{DynamoStore, Item, PK, SK, corrupt, item_of, n, number, parsed, s, text, unbuildable};
use crate::domain::SubjectId;
use crate::domain::ledger::{Given, Person, PersonId, Source, Statement};
use crate::store::people::PersonKey;
use crate::store::{StoreError, fingerprint};

pub(super) const HEAD: &str = "head";
pub(super) const POINTER: &str = "person";

pub(super) fn head_pk(id: PersonId) -> String {
    format!("person#{id}")
}

/// Returns the partition key of the list of people whose ids begin with `digit`.
pub(super) fn shard(digit: u32) -> String {
    format!("people#{digit:x}")
}

pub(super) fn shard_of(id: PersonId) -> String {
    let id = id.to_string();
    format!("people#{}", id.chars().next().unwrap_or('0'))
}

pub(super) fn statement_key(id: PersonId, source: &Source) -> (String, String) {
    (format!("{}#{id}", source.kind().as_str()), format!("statement#{source}"))
}

/// The partition key of a pointer, which is an item that contains a person's id. Usernames and subjects appear in
/// this key only as digests, so the key does not reveal them.
pub(super) struct Pointer(String);

impl Pointer {
    pub(super) fn of(key: &PersonKey) -> Self {
        Self(match key {
            PersonKey::Id(id) => head_pk(*id),
            PersonKey::Username(key) => format!("username#{}", fingerprint(&[key.as_str()])),
            PersonKey::FlexUser(sid) => format!("flex_user#{sid}"),
            PersonKey::Subject(source, subject) => {
                format!("subject_of#{}", fingerprint(&[&source.to_string(), subject.as_str()]))
            }
        })
    }

    pub(super) fn pk(&self) -> String {
        self.0.clone()
    }

    fn item(&self, to: PersonId) -> Item {
        item_of(&self.0, POINTER, [("person_id", s(to.to_string()))])
    }
}

pub(super) fn pointers(person: &Person) -> Vec<Pointer> {
    let username = PersonKey::Username(person.username.key());
    let user = person.flex_user_sid.clone().map(PersonKey::FlexUser);
    let subject = |(source, subject): (&Source, &SubjectId)| PersonKey::Subject(source.clone(), subject.clone());
    let keys = [username].into_iter().chain(user).chain(person.subjects.iter().map(subject));
    keys.map(|key| Pointer::of(&key)).collect()
}

pub(super) fn inactive(person: &Person) -> bool {
    person.inactive_by().next().is_some()
}

/// Serializes a value. Fails if the value contains a time that RFC 3339 cannot express, so that the store never
/// contains a person whom Flexgate cannot read.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(corrupt)
}

pub(super) fn head(person: &Person) -> Result<Item, StoreError> {
    let mut item = item_of(
        &head_pk(person.id),
        HEAD,
        [
            ("person_id", s(person.id.to_string())),
            ("user_name", s(person.username.as_str())),
            ("given_json", s(json(&person.given)?)),
            ("says_inactive", AttributeValue::Bool(inactive(person))),
            ("was_superseded", AttributeValue::Bool(false)),
            ("person_version", n(1)),
        ],
    );
    item.extend(person.flex_user_sid.as_ref().map(|sid| ("flex_user_sid".to_owned(), s(sid.as_str()))));
    let sources: Vec<String> = person.statements.keys().map(ToString::to_string).collect();
    if !sources.is_empty() {
        item.insert("source_names".to_owned(), AttributeValue::Ss(sources));
    }
    Ok(item)
}

/// Builds the item of a statement. `version` is the version that the person has after the write.
pub(super) fn statement(
    id: PersonId,
    version: u64,
    source: &Source,
    statement: &Statement,
    subject: Option<&SubjectId>,
) -> Result<Item, StoreError> {
    let (pk, sk) = statement_key(id, source);
    let attributes = [
        ("person_id", s(id.to_string())),
        ("source_name", s(source.to_string())),
        ("statement_json", s(json(statement)?)),
        ("person_version", n(version)),
    ];
    let mut item = item_of(&pk, &sk, attributes);
    item.extend(subject.map(|subject| ("subject_id".to_owned(), s(subject.as_str()))));
    Ok(item)
}

pub(super) fn read_head(item: &Item) -> Result<Person, StoreError> {
    let sid = item.contains_key("flex_user_sid").then(|| parsed(item, "flex_user_sid")).transpose()?;
    Ok(Person {
        id: parsed(item, "person_id")?,
        username: parsed(item, "user_name")?,
        flex_user_sid: sid,
        statements: BTreeMap::new(),
        subjects: BTreeMap::new(),
        given: serde_json::from_str::<Given>(text(item, "given_json")?).map_err(corrupt)?,
        superseded: matches!(item.get("was_superseded"), Some(AttributeValue::Bool(true))),
        version: number(item, "person_version")?,
    })
}

pub(super) fn sources(head: &Item) -> Result<Vec<Source>, StoreError> {
    let names = head.get("source_names").and_then(|value| value.as_ss().ok());
    names.into_iter().flatten().map(|name| name.parse().map_err(corrupt)).collect()
}

/// Whether the statement was written after Flexgate read the person's head (the item with the person's own data and
/// version). Statements from version 0.2.0 lack the version that this check needs, so they never count as newer.
pub(super) fn is_newer(statement: &Item, person: &Person) -> Result<bool, StoreError> {
    Ok(statement.contains_key("person_version") && number::<u64>(statement, "person_version")? > person.version)
}

pub(super) fn read_statement(item: &Item, person: &mut Person) -> Result<(), StoreError> {
    let source: Source = parsed(item, "source_name")?;
    let statement = serde_json::from_str(text(item, "statement_json")?).map_err(corrupt)?;
    if item.contains_key("subject_id") {
        person.subjects.insert(source.clone(), parsed(item, "subject_id")?);
    }
    person.statements.insert(source, statement);
    Ok(())
}

impl DynamoStore {
    /// Builds the part of a transaction that updates a person's head item: it increments the version and sets the
    /// values. The transaction fails unless the person still has version `version`.
    pub(super) fn advance<const N: usize>(
        &self,
        id: PersonId,
        version: u64,
        set: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<TransactWriteItem, StoreError> {
        let mut update = Update::builder()
            .table_name(&*self.table)
            .key(PK, s(head_pk(id)))
            .key(SK, s(HEAD))
            .update_expression(format!("SET person_version = :next, {set}"))
            .condition_expression("person_version = :version")
            .expression_attribute_values(":version", n(version))
            .expression_attribute_values(":next", n(version + 1));
        for (name, value) in values {
            update = update.expression_attribute_values(name, value);
        }
        Ok(TransactWriteItem::builder().update(update.build().map_err(unbuildable)?).build())
    }

    /// Builds the parts of a transaction that record that `new` has taken over the username of `old`. They remove the
    /// Flex user from `old`, and also each subject that `new` has.
    pub(super) fn supersede(&self, old: &Person, new: &Person) -> Result<Vec<TransactWriteItem>, StoreError> {
        let set = "was_superseded = :yes REMOVE flex_user_sid";
        let mut writes = vec![self.advance(old.id, old.version, set, [(":yes", AttributeValue::Bool(true))])?];
        for (source, _) in old.subjects.iter().filter(|(source, subject)| new.subjects.get(source) == Some(*subject)) {
            let (pk, sk) = statement_key(old.id, source);
            let update = Update::builder().table_name(&*self.table).key(PK, s(pk)).key(SK, s(sk));
            let update = update.update_expression("REMOVE subject_id").condition_expression("attribute_exists(pk)");
            writes.push(TransactWriteItem::builder().update(update.build().map_err(unbuildable)?).build());
        }
        Ok(writes)
    }

    /// Builds the part of a transaction that makes a pointer item lead to the person `to`. The transaction fails unless
    /// the item still leads to `from`. If `from` is `None`, the transaction fails if the item exists.
    pub(super) fn point(
        &self,
        pointer: &Pointer,
        to: PersonId,
        from: Option<PersonId>,
    ) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder().table_name(&*self.table).set_item(Some(pointer.item(to)));
        let put = match from {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(from) => {
                put.condition_expression("person_id = :from").expression_attribute_values(":from", s(from.to_string()))
            }
        };
        Ok(TransactWriteItem::builder().put(put.build().map_err(unbuildable)?).build())
    }

    /// Builds the part of a transaction that makes a pointer item lead to the person `to`. The transaction fails if the
    /// item leads to somebody else.
    pub(super) fn point_unless_taken(&self, pointer: &Pointer, to: PersonId) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder()
            .table_name(&*self.table)
            .set_item(Some(pointer.item(to)))
            .condition_expression("attribute_not_exists(pk) OR person_id = :to")
            .expression_attribute_values(":to", s(to.to_string()));
        Ok(TransactWriteItem::builder().put(put.build().map_err(unbuildable)?).build())
    }
}
