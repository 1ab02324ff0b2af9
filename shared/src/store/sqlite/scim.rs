//! The SCIM store in SQLite.

mod rows;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use time::OffsetDateTime;

use super::SqliteStore;
use super::values::moment;
use crate::domain::{FlexUserSid, Role, Username};
use crate::store::StoreError;
use crate::store::scim::{Begun, Entry, Group, GroupWritten, Mark, Membership, ScimStore, Work, folded};
use rows::{ENTRY, GROUP, entry, group, membership, one_group, with_members};

/// Deletes the record of a piece of work, if this process is still the holder (the process that may do the work).
const FINISH: &str = "DELETE FROM scim_work WHERE work = ?1 AND holder = ?2";

#[async_trait]
impl ScimStore for SqliteStore {
    async fn entry(&self, id: &FlexUserSid) -> Result<Option<Entry>, StoreError> {
        let id = id.to_string();
        self.read(move |db| {
            db.prepare_cached(&format!("SELECT {ENTRY} FROM scim_users WHERE id = ?1"))?
                .query_row([id], entry)
                .optional()
        })
        .await
    }

    async fn entries(&self, users: &[FlexUserSid]) -> Result<Vec<Entry>, StoreError> {
        let users = users.to_vec();
        self.read(move |db| {
            let mut found = Vec::new();
            for some in users.chunks(200) {
                let list = placeholders(some.len());
                let sql = format!("SELECT {ENTRY} FROM scim_users WHERE id IN ({list}) OR current IN ({list})");
                let keys = some.iter().map(FlexUserSid::as_str);
                let mut query = db.prepare_cached(&sql)?;
                let rows = query.query_map(rusqlite::params_from_iter(keys), entry)?;
                found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
            }
            Ok(found)
        })
        .await
    }

    async fn entry_named(&self, username: &Username) -> Result<Option<Entry>, StoreError> {
        let key = folded(username.as_str());
        self.read(move |db| {
            // An entry that is not deleted takes precedence over a deleted one.
            let sql = format!("SELECT {ENTRY} FROM scim_users WHERE username_key = ?1 ORDER BY deleted, id LIMIT 1");
            db.prepare_cached(&sql)?.query_row([key], entry).optional()
        })
        .await
    }

    async fn entries_of_external_id(&self, external_id: &str) -> Result<Vec<Entry>, StoreError> {
        let external_id = external_id.to_owned();
        self.read(move |db| {
            let sql = format!("SELECT {ENTRY} FROM scim_users WHERE external_id = ?1 AND deleted = 0 LIMIT 100");
            db.prepare_cached(&sql)?.query_map([external_id], entry)?.collect()
        })
        .await
    }

    async fn put_entry(&self, put: &Entry, finishes: Option<&Work>) -> Result<bool, StoreError> {
        let (put, finishes) = (put.clone(), finishes.cloned());
        self.write(move |db| {
            if let Some(Work { name, holder }) = &finishes {
                let sql = "SELECT 1 FROM scim_work WHERE work = ?1 AND holder <> ?2";
                if db.prepare_cached(sql)?.exists(params![name, holder_text(*holder)])? {
                    return Ok(false);
                }
            }
            let values = params![
                put.id.as_str(),
                put.current.as_str(),
                put.username.as_str(),
                folded(put.username.as_str()),
                put.external_id,
                Value::Object(put.asserted).to_string(),
                put.deleted,
                put.version.cast_signed(),
                put.updated_at.unix_timestamp(),
                put.updated_at.millisecond(),
            ];
            let written = if put.version == 0 {
                db.prepare_cached(
                    "INSERT OR IGNORE INTO scim_users VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 + 1, ?9, ?10)",
                )?
                .execute(values)?
            } else {
                db.prepare_cached(
                    "UPDATE scim_users SET current = ?2, username = ?3, username_key = ?4, external_id = ?5,
                     asserted = ?6, deleted = ?7, version = ?8 + 1, updated_at = ?9, updated_millis = ?10
                     WHERE id = ?1 AND version = ?8",
                )?
                .execute(values)?
            };
            if written == 1
                && let Some(Work { name, holder }) = finishes
            {
                db.prepare_cached(FINISH)?.execute([name, holder_text(holder)])?;
            }
            Ok(written == 1)
        })
        .await
    }

    async fn group(&self, id: &str) -> Result<Option<Group>, StoreError> {
        let id = id.to_owned();
        self.read(move |db| one_group(db, "id = ?1", &id)).await
    }

    async fn group_named(&self, display_name: &str) -> Result<Option<Group>, StoreError> {
        let key = folded(display_name);
        self.read(move |db| one_group(db, "display_key = ?1", &key)).await
    }

    async fn groups(&self, after: &str, skip: u64, limit: u64) -> Result<Vec<Group>, StoreError> {
        let after = after.to_owned();
        self.read(move |db| {
            let sql = format!("SELECT {GROUP} FROM scim_groups WHERE id > ?1 ORDER BY id LIMIT ?2 OFFSET ?3");
            let mut query = db.prepare_cached(&sql)?;
            let values = params![after, limit.cast_signed(), skip.cast_signed()];
            let groups: Vec<Group> = query.query_map(values, group)?.collect::<rusqlite::Result<_>>()?;
            groups.into_iter().map(|group| with_members(db, group)).collect()
        })
        .await
    }

    async fn count_groups(&self) -> Result<u64, StoreError> {
        self.read(|db| db.query_row("SELECT count(*) FROM scim_groups", [], |row| row.get::<_, i64>(0)))
            .await
            .map(i64::cast_unsigned)
    }

    async fn put_group(&self, put: &Group) -> Result<GroupWritten, StoreError> {
        let put = put.clone();
        self.write(move |db| {
            // If the group's name is unchanged, keep its stored key, because an earlier version of Flexgate may have
            // computed the key differently.
            let kept: Option<String> = db
                .prepare_cached("SELECT display_key FROM scim_groups WHERE id = ?1 AND display_name = ?2")?
                .query_row([&put.id, &put.display_name], |row| row.get(0))
                .optional()?;
            let is_kept = kept.is_some();
            let key = kept.unwrap_or_else(|| folded(&put.display_name));
            let taken = db
                .prepare_cached("SELECT 1 FROM scim_groups WHERE display_key = ?1 AND id <> ?2")?
                .exists(params![key, put.id])?;
            if taken && !is_kept {
                return Ok(GroupWritten::NameTaken);
            }
            if !written(db, &put, &key)? {
                return Ok(GroupWritten::Moved);
            }
            db.prepare_cached("DELETE FROM scim_members WHERE group_id = ?1")?.execute([&put.id])?;
            for member in &put.members {
                db.prepare_cached("INSERT INTO scim_members VALUES (?1, ?2, ?3, ?4)")?.execute(params![
                    put.id,
                    member.user.as_str(),
                    member.present,
                    member.announced.map(Role::as_str)
                ])?;
            }
            Ok(GroupWritten::Yes)
        })
        .await
    }

    async fn remove_group(&self, id: &str, version: u64) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(move |db| {
            let values = params![id, version.cast_signed()];
            if db.execute("DELETE FROM scim_groups WHERE id = ?1 AND version = ?2", values)? == 0 {
                return Ok(false);
            }
            db.execute("DELETE FROM scim_members WHERE group_id = ?1", [&id])?;
            Ok(true)
        })
        .await
    }

    async fn memberships(&self, users: &[FlexUserSid]) -> Result<Vec<Membership>, StoreError> {
        let users = users.to_vec();
        self.read(move |db| {
            let mut found = Vec::new();
            for some in users.chunks(200) {
                let list = placeholders(some.len());
                let sql = format!(
                    "SELECT m.user, g.id, g.display_name, m.present FROM scim_members m
                     JOIN scim_groups g ON g.id = m.group_id WHERE m.user IN ({list}) ORDER BY g.id"
                );
                let mut query = db.prepare_cached(&sql)?;
                let keys = some.iter().map(FlexUserSid::as_str);
                let rows = query.query_map(rusqlite::params_from_iter(keys), membership)?;
                found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
            }
            Ok(found)
        })
        .await
    }

    async fn leave_all(&self, user: &FlexUserSid) -> Result<(), StoreError> {
        let user = user.to_string();
        self.write(move |db| {
            // Increment the group's version. So a concurrent write of the group fails, and cannot put the user back
            // into the group.
            let moved = "UPDATE scim_groups SET version = version + 1
                         WHERE id IN (SELECT group_id FROM scim_members WHERE user = ?1)";
            db.prepare_cached(moved)?.execute([&user])?;
            db.prepare_cached("DELETE FROM scim_members WHERE user = ?1")?.execute([user]).map(drop)
        })
        .await
    }

    async fn begin(&self, work: &Work, now: OffsetDateTime, until: OffsetDateTime) -> Result<Begun, StoreError> {
        let Work { name, holder } = work.clone();
        self.write(move |db| {
            let begun: Option<(OffsetDateTime, bool, Option<String>)> = db
                .prepare_cached("SELECT until, intended, holder FROM scim_work WHERE work = ?1")?
                .query_row([&name], |row| Ok((moment(row, 0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let holder = holder_text(holder);
            let intended = match begun {
                Some((until, _, by))
                    if until.unix_timestamp() > now.unix_timestamp() && by.as_ref() != Some(&holder) =>
                {
                    return Ok(Begun::Held(until));
                }
                Some((_, intended, _)) => intended,
                None => false,
            };
            db.prepare_cached(
                "INSERT OR REPLACE INTO scim_work (work, until, intended, holder) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![name, until.unix_timestamp(), intended, holder])?;
            Ok(Begun::Yes { intended })
        })
        .await
    }

    async fn intend(&self, work: &Work) -> Result<bool, StoreError> {
        self.on_work("UPDATE scim_work SET intended = 1 WHERE work = ?1 AND holder = ?2", work).await
    }

    async fn abandon(&self, work: &Work) -> Result<(), StoreError> {
        let sql = "UPDATE scim_work SET until = 0, holder = NULL WHERE work = ?1 AND holder = ?2";
        self.on_work(sql, work).await.map(drop)
    }

    async fn finish(&self, work: &Work) -> Result<(), StoreError> {
        self.on_work(FINISH, work).await.map(drop)
    }

    async fn mark_before(&self, index: u64, now: OffsetDateTime) -> Result<Option<Mark>, StoreError> {
        self.read(move |db| {
            let sql =
                "SELECT first, token FROM scim_marks WHERE first <= ?1 AND until > ?2 ORDER BY first DESC LIMIT 1";
            db.prepare_cached(sql)?
                .query_row(params![index.cast_signed(), now.unix_timestamp()], |row| {
                    Ok(Mark { index: row.get::<_, i64>(0)?.cast_unsigned(), token: row.get(1)? })
                })
                .optional()
        })
        .await
    }

    async fn put_mark(&self, mark: &Mark, until: OffsetDateTime) -> Result<(), StoreError> {
        let mark = mark.clone();
        self.write(move |db| {
            db.prepare_cached("INSERT OR REPLACE INTO scim_marks (first, token, until) VALUES (?1, ?2, ?3)")?
                .execute(params![mark.index.cast_signed(), mark.token, until.unix_timestamp()])
                .map(drop)
        })
        .await
    }

    async fn total(&self, now: OffsetDateTime) -> Result<Option<u64>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT total FROM scim_total WHERE until > ?1")?
                .query_row([now.unix_timestamp()], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
                .optional()
        })
        .await
    }

    async fn put_total(&self, total: u64, until: OffsetDateTime) -> Result<(), StoreError> {
        self.write(move |db| {
            db.prepare_cached("INSERT OR REPLACE INTO scim_total (only_one, total, until) VALUES (1, ?1, ?2)")?
                .execute(params![total.cast_signed(), until.unix_timestamp()])
                .map(drop)
        })
        .await
    }

    async fn forget_marks(&self) -> Result<(), StoreError> {
        self.write(|db| db.execute_batch("DELETE FROM scim_marks; DELETE FROM scim_total;")).await
    }
}

impl SqliteStore {
    /// Runs an SQL statement on the record of a piece of work. The statement changes the record only if this process is
    /// still the holder (the process that may do the work). Returns false if it is not.
    async fn on_work(&self, sql: &'static str, work: &Work) -> Result<bool, StoreError> {
        let Work { name, holder } = work.clone();
        self.write(move |db| Ok(db.prepare_cached(sql)?.execute([name, holder_text(holder)])? == 1)).await
    }
}

fn holder_text(holder: u128) -> String {
    format!("{holder:032x}")
}

/// Returns `?1, ?2, …` with `count` numbers.
fn placeholders(count: usize) -> String {
    (1..=count).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ")
}

fn written(db: &Connection, put: &Group, key: &str) -> rusqlite::Result<bool> {
    let values = params![
        put.id,
        put.display_name,
        key,
        put.external_id,
        put.version.cast_signed(),
        put.created_at.unix_timestamp(),
        put.updated_at.unix_timestamp(),
        put.updated_at.millisecond(),
    ];
    let sql = if put.version == 0 {
        "INSERT OR IGNORE INTO scim_groups VALUES (?1, ?2, ?3, ?4, ?5 + 1, ?6, ?7, ?8)"
    } else {
        "UPDATE scim_groups SET display_name = ?2, display_key = ?3, external_id = ?4, version = ?5 + 1,
         created_at = ?6, updated_at = ?7, updated_millis = ?8 WHERE id = ?1 AND version = ?5"
    };
    Ok(db.prepare_cached(sql)?.execute(values)? == 1)
}
