//! Reads rows of the SCIM store.

use rusqlite::types::{Type, Value as Sql};
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::{Map, Value};
use time::Duration;

use crate::domain::Role;
use crate::store::scim::{Entry, Group, Member, Membership};
use crate::store::sqlite::values::{moment, parsed};

pub(super) const ENTRY: &str =
    "id, current, username, external_id, asserted, deleted, version, updated_at, updated_millis";
pub(super) const GROUP: &str = "id, display_name, external_id, version, created_at, updated_at, updated_millis";

pub(super) fn one_group(db: &Connection, condition: &str, key: &str) -> rusqlite::Result<Option<Group>> {
    let sql = format!("SELECT {GROUP} FROM scim_groups WHERE {condition}");
    let found = db.prepare_cached(&sql)?.query_row([key], group).optional()?;
    found.map(|group| with_members(db, group)).transpose()
}

pub(super) fn with_members(db: &Connection, mut group: Group) -> rusqlite::Result<Group> {
    group.members = db
        .prepare_cached("SELECT user, present, conferred FROM scim_members WHERE group_id = ?1 ORDER BY user")?
        .query_map([&group.id], |row| {
            Ok(Member { user: parsed(row, 0)?, present: row.get(1)?, announced: role(row, 2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(group)
}

pub(super) fn group(row: &Row<'_>) -> rusqlite::Result<Group> {
    Ok(Group {
        id: row.get(0)?,
        display_name: row.get(1)?,
        external_id: row.get(2)?,
        members: Vec::new(),
        version: row.get::<_, i64>(3)?.cast_unsigned(),
        created_at: moment(row, 4)?,
        updated_at: moment(row, 5)? + millis(row, 6)?,
    })
}

pub(super) fn membership(row: &Row<'_>) -> rusqlite::Result<Membership> {
    Ok(Membership { user: parsed(row, 0)?, group: row.get(1)?, display_name: row.get(2)?, present: row.get(3)? })
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let asserted: String = row.get(4)?;
    let asserted: Map<String, Value> = serde_json::from_str(&asserted)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(4, Type::Text, error.into()))?;
    Ok(Entry {
        id: parsed(row, 0)?,
        current: parsed(row, 1)?,
        username: parsed(row, 2)?,
        external_id: row.get(3)?,
        asserted,
        deleted: row.get(5)?,
        version: row.get::<_, i64>(6)?.cast_unsigned(),
        updated_at: moment(row, 7)? + millis(row, 8)?,
    })
}

fn millis(row: &Row<'_>, column: usize) -> rusqlite::Result<Duration> {
    row.get(column).map(Duration::milliseconds)
}

pub(super) fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Role>> {
    if row.get::<_, Sql>(column)? == Sql::Null { Ok(None) } else { parsed(row, column).map(Some) }
}
