//! The people ledger in SQLite.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::SqliteStore;
use super::values::parsed;
use crate::domain::ledger::{Given, Person, PersonId, Source, Statement};
use crate::domain::{FlexUserSid, SubjectId, UsernameKey};
use crate::store::people::{
    Deactivations, KnownUser, Noting, People, PersonKey, PersonLease, Stating, WhoIsWho, Written,
};
use crate::store::{StoreError, fingerprint};

#[async_trait]
impl People for SqliteStore {
    async fn person(&self, key: &PersonKey) -> Result<Option<Person>, StoreError> {
        Ok(self.people(std::slice::from_ref(key)).await?.pop())
    }

    async fn people(&self, keys: &[PersonKey]) -> Result<Vec<Person>, StoreError> {
        let keys = keys.to_vec();
        self.read(move |db| {
            let mut found = BTreeMap::new();
            for key in &keys {
                let id = match key {
                    PersonKey::Id(id) => Some(id.to_string()),
                    key => leads_to(db, &pointer(key))?,
                };
                if let Some(id) = id.filter(|id| !found.contains_key(id))
                    && let Some(person) = load(db, &id)?
                {
                    found.insert(id, person);
                }
            }
            Ok(found.into_values().collect())
        })
        .await
    }

    async fn page(&self, after: Option<PersonId>, limit: u32) -> Result<Vec<Person>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT id FROM people WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            let ids = query.query_map(params![after, limit], |row| row.get::<_, String>(0))?;
            ids.filter_map(|id| id.and_then(|id| load(db, &id)).transpose()).collect()
        })
        .await
    }

    async fn add(&self, person: &Person, instead_of: Option<&Person>) -> Result<Written, StoreError> {
        let (person, judged) = (person.clone(), instead_of.map(|old| old.version.cast_signed()));
        let instead_of = instead_of.map(|old| old.id.to_string());
        let given = json(&person.given)?;
        let said = person.statements.iter().map(|(source, said)| Ok((source.clone(), json(said)?)));
        let statements = said.collect::<Result<Vec<_>, StoreError>>()?;
        let mut pointers = vec![pointer(&PersonKey::Username(person.username.key()))];
        pointers.extend(person.flex_user_sid.iter().map(|sid| pointer(&PersonKey::FlexUser(sid.clone()))));
        let subject =
            |(source, subject): (&Source, &_)| pointer(&PersonKey::Subject(source.clone(), Clone::clone(subject)));
        pointers.extend(person.subjects.iter().map(subject));
        self.write(move |db| {
            let id = person.id.to_string();
            for pointer in &pointers {
                let led_to = leads_to(db, pointer)?;
                if led_to.is_some() && led_to != instead_of {
                    return Ok(Written::Moved);
                }
            }
            if let Some(old) = &instead_of
                && !db
                    .prepare_cached("SELECT 1 FROM people WHERE id = ?1 AND version = ?2")?
                    .exists(params![old, judged])?
            {
                return Ok(Written::Moved);
            }
            let inserted = db
                .prepare_cached(
                    "INSERT OR IGNORE INTO people (id, username, username_key, flex_user_sid, given, inactive, version)
                     VALUES (?1, ?2, ?3, ?4, ?5, 0, 1)",
                )?
                .execute(params![
                    id,
                    person.username.as_str(),
                    person.username.key().as_str(),
                    person.flex_user_sid.as_ref().map(FlexUserSid::as_str),
                    given,
                ])?;
            if inserted == 0 {
                return Ok(Written::Moved);
            }
            if let Some(old) = &instead_of {
                supersede(db, old, &person)?;
            }
            for (source, statement) in &statements {
                let subject = person.subjects.get(source).map(SubjectId::as_str);
                put_statement(db, &id, source, statement, subject)?;
            }
            note_activity(db, &id)?;
            for pointer in &pointers {
                point(db, pointer, &id)?;
            }
            Ok(Written::Yes(1))
        })
        .await
    }

    async fn state(&self, person: PersonId, version: u64, stating: Stating<'_>) -> Result<Written, StoreError> {
        let (id, source, statement) = (person.to_string(), stating.source.clone(), json(stating.statement)?);
        let (subject, given) = (stating.subject.cloned(), stating.given.map(json).transpose()?);
        self.write(move |db| {
            if let Some(subject) = &subject {
                let pointer = pointer(&PersonKey::Subject(source.clone(), subject.clone()));
                if leads_to(db, &pointer)?.is_some_and(|led_to| led_to != id) {
                    return Ok(Written::Moved);
                }
                if !advance(db, &id, version)? {
                    return Ok(Written::Moved);
                }
                point(db, &pointer, &id)?;
            } else if !advance(db, &id, version)? {
                return Ok(Written::Moved);
            }
            put_statement(db, &id, &source, &statement, subject.as_ref().map(SubjectId::as_str))?;
            if let Some(given) = given {
                db.prepare_cached("UPDATE people SET given = ?2 WHERE id = ?1")?.execute(params![id, given])?;
            }
            note_activity(db, &id)?;
            Ok(Written::Yes(version + 1))
        })
        .await
    }

    async fn note(&self, person: PersonId, version: u64, noting: Noting<'_>) -> Result<Written, StoreError> {
        let (id, given, username) = (person.to_string(), json(noting.given)?, noting.username.clone());
        let sid = noting.flex_user_sid.cloned();
        self.write(move |db| {
            let pointer = sid.as_ref().map(|sid| pointer(&PersonKey::FlexUser(sid.clone())));
            if let Some(pointer) = &pointer
                && leads_to(db, pointer)?.is_some_and(|led_to| led_to != id)
            {
                return Ok(Written::Moved);
            }
            if !advance(db, &id, version)? {
                return Ok(Written::Moved);
            }
            db.prepare_cached("UPDATE people SET given = ?2, username = ?3, flex_user_sid = ?4 WHERE id = ?1")?
                .execute(params![id, given, username.as_str(), sid.as_ref().map(FlexUserSid::as_str)])?;
            if let Some(pointer) = pointer {
                point(db, &pointer, &id)?;
            }
            Ok(Written::Yes(version + 1))
        })
        .await
    }

    async fn lease(
        &self,
        person: PersonId,
        holder: u128,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<PersonLease, StoreError> {
        let (id, holder) = (person.to_string(), format!("{holder:032x}"));
        self.write(move |db| {
            let earlier: Option<(Option<String>, i64)> = db
                .prepare_cached("SELECT lease_holder, leased_until FROM people WHERE id = ?1")?
                .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let taken_over = match earlier {
                None => return Ok(PersonLease::Unknown),
                Some((Some(by), held_until)) if by != holder && held_until > millis(now) => {
                    return Ok(PersonLease::Held(of_millis(held_until)?));
                }
                Some((by, _)) => by.is_some(),
            };
            db.prepare_cached("UPDATE people SET lease_holder = ?2, leased_until = ?3 WHERE id = ?1")?
                .execute(params![id, holder, millis(until)])?;
            Ok(PersonLease::Granted { taken_over })
        })
        .await
    }

    async fn release(&self, person: PersonId, holder: u128, version: Option<u64>) -> Result<bool, StoreError> {
        let (id, holder) = (person.to_string(), format!("{holder:032x}"));
        self.write(move |db| {
            let released = db
                .prepare_cached(
                    "UPDATE people SET lease_holder = NULL, leased_until = 0
                     WHERE id = ?1 AND lease_holder = ?2 AND (?3 IS NULL OR version = ?3)",
                )?
                .execute(params![id, holder, version.map(u64::cast_signed)])?;
            Ok(released == 1)
        })
        .await
    }

    async fn unattached(&self, source: &Source, subject: &SubjectId) -> Result<Option<Statement>, StoreError> {
        let pointer = pointer(&PersonKey::Subject(source.clone(), subject.clone()));
        self.read(move |db| {
            db.prepare_cached("SELECT statement FROM unattached_statements WHERE subject = ?1")?
                .query_row([pointer], |row| read_json(row, 0))
                .optional()
        })
        .await
    }

    async fn keep_unattached(
        &self,
        source: &Source,
        subject: &SubjectId,
        statement: &Statement,
    ) -> Result<(), StoreError> {
        let pointer = pointer(&PersonKey::Subject(source.clone(), subject.clone()));
        let statement = json(statement)?;
        self.write(move |db| {
            db.prepare_cached("INSERT OR REPLACE INTO unattached_statements (subject, statement) VALUES (?1, ?2)")?
                .execute(params![pointer, statement])
                .map(drop)
        })
        .await
    }
}

#[async_trait]
impl Deactivations for SqliteStore {
    async fn says_inactive(
        &self,
        user: Option<&FlexUserSid>,
        username: Option<&UsernameKey>,
    ) -> Result<bool, StoreError> {
        let user = user.map(|sid| pointer(&PersonKey::FlexUser(sid.clone())));
        let username = username.map(|key| pointer(&PersonKey::Username(key.clone())));
        self.read(move |db| {
            for pointer in [user, username].iter().flatten() {
                let inactive = db
                    .prepare_cached(
                        "SELECT 1 FROM person_pointers JOIN people ON people.id = person
                         WHERE pointer = ?1 AND inactive = 1",
                    )?
                    .exists([pointer])?;
                if inactive {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }
}

#[async_trait]
impl WhoIsWho for SqliteStore {
    async fn who_is(&self, key: &PersonKey) -> Result<Option<KnownUser>, StoreError> {
        let pointer = pointer(key);
        self.read(move |db| {
            db.prepare_cached(
                "SELECT username, flex_user_sid FROM person_pointers JOIN people ON people.id = person
                 WHERE pointer = ?1",
            )?
            .query_row([pointer], |row| {
                let sid: Option<String> = row.get(1)?;
                Ok(KnownUser { username: parsed(row, 0)?, flex_user_sid: sid.map(|_| parsed(row, 1)).transpose()? })
            })
            .optional()
        })
        .await
    }
}

/// Returns the key of a row in the table of pointers. The key is a digest, so it does not reveal the username or the
/// subject.
fn pointer(key: &PersonKey) -> String {
    match key {
        PersonKey::Id(id) => fingerprint(&["id", &id.to_string()]),
        PersonKey::Username(key) => fingerprint(&["username", key.as_str()]),
        PersonKey::FlexUser(sid) => fingerprint(&["flex_user", sid.as_str()]),
        PersonKey::Subject(source, subject) => fingerprint(&["subject", &source.to_string(), subject.as_str()]),
    }
}

fn leads_to(db: &Connection, pointer: &str) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT person FROM person_pointers WHERE pointer = ?1")?
        .query_row([pointer], |row| row.get(0))
        .optional()
}

fn point(db: &Connection, pointer: &str, id: &str) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO person_pointers (pointer, person) VALUES (?1, ?2)")?
        .execute(params![pointer, id])
        .map(drop)
}

/// Increments the person's version if it is still `version`. Otherwise changes nothing and returns false.
fn advance(db: &Connection, id: &str, version: u64) -> rusqlite::Result<bool> {
    db.prepare_cached("UPDATE people SET version = version + 1 WHERE id = ?1 AND version = ?2")?
        .execute(params![id, version.cast_signed()])
        .map(|changed| changed == 1)
}

fn put_statement(
    db: &Connection,
    id: &str,
    source: &Source,
    statement: &str,
    subject: Option<&str>,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO person_statements (person, source, statement, subject) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (person, source) DO UPDATE SET statement = ?3, subject = coalesce(?4, subject)",
    )?
    .execute(params![id, source.to_string(), statement, subject])
    .map(drop)
}

/// Records that `new` has taken over the username of `old`. Removes the Flex user from `old`, and also each subject
/// that `new` has.
fn supersede(db: &Connection, old: &str, new: &Person) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE people SET superseded = 1, flex_user_sid = NULL, version = version + 1 WHERE id = ?1")?
        .execute([old])?;
    let sql = "UPDATE person_statements SET subject = NULL WHERE person = ?1 AND source = ?2 AND subject = ?3";
    for (source, subject) in &new.subjects {
        db.prepare_cached(sql)?.execute(params![old, source.to_string(), subject.as_str()])?;
    }
    Ok(())
}

/// Stores in the person's row whether any source says "inactive", so that a sign-in need not read the statements.
fn note_activity(db: &Connection, id: &str) -> rusqlite::Result<()> {
    let Some(person) = load(db, id)? else { return Ok(()) };
    let inactive = person.inactive_by().next().is_some();
    db.prepare_cached("UPDATE people SET inactive = ?2 WHERE id = ?1")?.execute(params![id, inactive]).map(drop)
}

fn load(db: &Connection, id: &str) -> rusqlite::Result<Option<Person>> {
    let person = db
        .prepare_cached("SELECT id, username, flex_user_sid, given, version, superseded FROM people WHERE id = ?1")?
        .query_row([id], |row| {
            let sid: Option<String> = row.get(2)?;
            Ok(Person {
                id: parsed(row, 0)?,
                username: parsed(row, 1)?,
                flex_user_sid: sid.map(|_| parsed(row, 2)).transpose()?,
                statements: BTreeMap::new(),
                subjects: BTreeMap::new(),
                given: read_json::<Given>(row, 3)?,
                version: row.get::<_, i64>(4)?.cast_unsigned(),
                superseded: row.get(5)?,
            })
        })
        .optional()?;
    let Some(mut person) = person else { return Ok(None) };
    let mut query = db.prepare_cached("SELECT source, statement, subject FROM person_statements WHERE person = ?1")?;
    let mut rows = query.query([id])?;
    while let Some(row) = rows.next()? {
        let source: Source = parsed(row, 0)?;
        person.statements.insert(source.clone(), read_json::<Statement>(row, 1)?);
        if row.get::<_, Option<String>>(2)?.is_some() {
            person.subjects.insert(source, parsed(row, 2)?);
        }
    }
    Ok(Some(person))
}

/// Serializes a value. Fails if the value contains a time that RFC 3339 cannot express, so that the store never
/// contains a person whom Flexgate cannot read.
fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.into()))
}

fn read_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

fn millis(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

fn of_millis(millis: i64) -> rusqlite::Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Integer, error.into()))
}
