//! Sessions in DynamoDB. A session has three items: the session itself, a mark under its Flex user, and an entry in the
//! list of all sessions. With the marks, Flexgate can end all sessions of a user.
//!
//! The time of the last use and the lease are in a fourth item, because a write costs by the size of its item, and the
//! tokens are large. This item can outlive its session, too. A session without a use in it was last used when it was
//! made, or, if version 0.2.0 has recorded a use, at the time in the session itself.
//!
//! The mark and the entry are written before the session, so every session has them. Nothing but the table's TTL removes
//! them, so a mark may have no session any more. If the answer to the write of a session is lost, the SDK may write the
//! session again after its end, and the next call of `end_all_of` must find it.
//!
//! The marks have a partition key of their own, so that the role of sign-in can write marks but no bindings
//! (`dynamodb:LeadingKeys`). Version 0.2.0 wrote them under `user#`, where the bindings are. Such marks are only read.
//!
//! Beside the marks lies the newest seat for each profile. A write of this one item decides which of several concurrent
//! sign-ins is the newest.

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::{DynamoStore, EXPIRES_AT, Item, PK, SK};
use super::{item_of, moment, n, number, parsed, refused, request_number, s, seconds, text, unavailable};
use crate::domain::{FlexUserSid, ProfileName};
use crate::store::sessions::LONGEST;
use crate::store::{Lease, Seat, Seats, Session, SessionKey, SessionOrigin, Sessions, StoreError};

pub(super) const SESSION: &str = "session";
/// The sort key of the last use and the lease. It begins like that of the session, so that one query reads both.
pub(super) const USE: &str = "session_use";
/// The prefix of a session's partition key, and of the sort key of its mark.
pub(super) const PREFIX: &str = "session#";

/// The names of the attributes that version 0.2.0 did not have.
pub(super) const SEAT: &str = "seat_key";
pub(super) const USERNAME: &str = "signed_in_username";
pub(super) const NETWORK: &str = "network_prefix";
pub(super) const BROWSER: &str = "browser_family";
pub(super) const IDLE: &str = "idle_seconds";

/// The number of partitions of the list of sessions. A partition accepts about 1,000 writes a second.
pub(super) const LIST_PARTITIONS: usize = 8;

pub(super) fn pk(key: &SessionKey) -> String {
    format!("{PREFIX}{}", key.as_str())
}

pub(super) fn marks_pk(user: &FlexUserSid) -> String {
    format!("sessions_of#{user}")
}

/// The partition key of the marks of version 0.2.0.
pub(super) fn old_marks_pk(user: &FlexUserSid) -> String {
    format!("user#{user}")
}

/// The sort key of the newest seat with a profile.
pub(super) fn seat_sk(profile: &ProfileName) -> String {
    format!("seat#{profile}")
}

/// The partition key of the list that has the session's entry.
fn list_pk(key: &SessionKey) -> String {
    list_partition_pk(list_partition(key))
}

pub(super) fn list_partition_pk(partition: usize) -> String {
    format!("session_list#{partition}")
}

/// The list's partition of a session, by the first character of its key.
pub(super) fn list_partition(key: &SessionKey) -> usize {
    let first = key.as_str().bytes().next().unwrap_or_default();
    usize::from(first) % LIST_PARTITIONS
}

#[async_trait]
impl Sessions for DynamoStore {
    async fn insert(&self, session: Session) -> Result<(), StoreError> {
        let mut item = item_of(
            &pk(&session.key),
            SESSION,
            [
                ("profile_name", s(session.profile.as_str())),
                ("flex_user_sid", s(session.flex_user_sid.as_str())),
                ("sealed_tokens", s(&session.sealed)),
                ("session_version", n(session.version)),
                ("created_at", seconds(session.created_at)),
                ("used_at", seconds(session.used_at)),
                ("ends_at", seconds(session.ends_at)),
                ("leased_until", n(0)),
                (EXPIRES_AT, seconds(session.ends_at)),
            ],
        );
        let SessionOrigin { username, network, browser, idle } = &session.origin;
        let seat = session.seat.as_ref().map(|seat| seat.as_str().to_owned());
        let texts = [(USERNAME, username), (NETWORK, network), (BROWSER, browser), (SEAT, &seat)];
        item.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), s(text.as_ref()?)))));
        item.extend(idle.map(|idle| (IDLE.to_owned(), n(idle.whole_seconds()))));
        let session = &session;
        let entries = [marks_pk(&session.flex_user_sid), list_pk(&session.key)].map(|list| async move {
            let entry = item_of(&list, &pk(&session.key), [(EXPIRES_AT, seconds(session.ends_at))]);
            let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(entry));
            request.send().await.map_err(unavailable)
        });
        futures_util::future::try_join_all(entries).await?;
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item.clone()));
        let inserted = refused(request.condition_expression("attribute_not_exists(pk)").send().await)?;
        // If the answer was lost, the stored item is this one. Nobody else can seal the same text.
        if inserted.is_some() || self.item(&pk(&session.key), SESSION).await? == Some(item) {
            Ok(())
        } else {
            Err(StoreError::Unavailable("a session of that key exists".into()))
        }
    }

    async fn get(&self, key: &SessionKey) -> Result<Option<Session>, StoreError> {
        let items = self.items(&pk(key), SESSION).await?;
        let Some(found) = find(&items, SESSION) else { return Ok(None) };
        let mut found = session(key, found)?;
        if let Some(last) = find(&items, USE).filter(|last| last.contains_key("used_at")) {
            found.used_at = found.used_at.max(moment(last, "used_at")?);
        }
        Ok(Some(found))
    }

    async fn touch(&self, session: &Session, at: OffsetDateTime) -> Result<(), StoreError> {
        let request =
            self.client().await.update_item().table_name(&*self.table).key(PK, s(pk(&session.key))).key(SK, s(USE));
        let request = request
            .update_expression("SET used_at = :at, expires_at = :ends")
            .condition_expression("attribute_not_exists(used_at) OR used_at < :at")
            .expression_attribute_values(":at", seconds(at))
            .expression_attribute_values(":ends", seconds(session.ends_at));
        refused(request.send().await).map(drop)
    }

    /// Reads both items after the write. So the version is one from after the lease was granted, and a lost answer of the
    /// write does not matter.
    async fn lease(
        &self,
        key: &SessionKey,
        version: u64,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Lease, StoreError> {
        let request = self.client().await.update_item().table_name(&*self.table).key(PK, s(pk(key))).key(SK, s(USE));
        let request_number = request_number();
        let request = request
            .update_expression(
                "SET lease_version = :version, leased_until = :until, lease_number = :number, expires_at = :later",
            )
            .condition_expression(
                "attribute_not_exists(lease_version) OR lease_version < :version OR \
                 (lease_version = :version AND leased_until <= :now)",
            )
            .expression_attribute_values(":number", request_number.clone())
            .expression_attribute_values(":until", seconds(until))
            .expression_attribute_values(":later", seconds(now + LONGEST))
            .expression_attribute_values(":version", n(version))
            .expression_attribute_values(":now", seconds(now));
        refused(request.send().await)?;
        let items = self.items(&pk(key), SESSION).await?;
        let Some(session) = find(&items, SESSION) else { return Ok(Lease::Moved) };
        let is_own = find(&items, USE).is_some_and(|item| item.get("lease_number") == Some(&request_number));
        Ok(match number::<u64>(session, "session_version")? {
            now if now != version => Lease::Moved,
            _ if is_own => Lease::Granted,
            _ => Lease::Held,
        })
    }

    async fn release(&self, key: &SessionKey, version: u64, until: OffsetDateTime) -> Result<(), StoreError> {
        let request = self.client().await.update_item().table_name(&*self.table).key(PK, s(pk(key))).key(SK, s(USE));
        let request = request
            .update_expression("SET leased_until = :never")
            .condition_expression("lease_version = :version AND leased_until = :until")
            .expression_attribute_values(":never", n(0))
            .expression_attribute_values(":until", seconds(until))
            .expression_attribute_values(":version", n(version));
        refused(request.send().await).map(drop)
    }

    async fn refreshed(&self, key: &SessionKey, version: u64, sealed: &str) -> Result<bool, StoreError> {
        let request =
            self.client().await.update_item().table_name(&*self.table).key(PK, s(pk(key))).key(SK, s(SESSION));
        let request = request
            .update_expression("SET sealed_tokens = :sealed, session_version = :next")
            .condition_expression("attribute_exists(pk) AND session_version = :version")
            .expression_attribute_values(":sealed", s(sealed))
            .expression_attribute_values(":next", n(version + 1))
            .expression_attribute_values(":version", n(version));
        if refused(request.send().await)?.is_some() {
            return Ok(true);
        }
        // Sealing is random, so nobody else can have stored the same text.
        let now = self.get(key).await?;
        Ok(now.is_some_and(|now| now.version == version + 1 && now.sealed == sealed))
    }

    async fn end(&self, key: &SessionKey) -> Result<(), StoreError> {
        self.remove(&pk(key), SESSION).await.map(drop)
    }

    async fn end_at(&self, key: &SessionKey, at: OffsetDateTime) -> Result<(), StoreError> {
        let request =
            self.client().await.update_item().table_name(&*self.table).key(PK, s(pk(key))).key(SK, s(SESSION));
        let request = request
            .update_expression("SET ends_at = :at, expires_at = :at")
            .condition_expression("attribute_exists(pk) AND ends_at > :at")
            .expression_attribute_values(":at", seconds(at));
        refused(request.send().await).map(drop)
    }

    async fn end_all_of(&self, user: &FlexUserSid) -> Result<u64, StoreError> {
        let mut ended = 0;
        for marks in [old_marks_pk(user), marks_pk(user)] {
            for mark in self.items(&marks, PREFIX).await? {
                ended += u64::from(self.remove(text(&mark, SK)?, SESSION).await?.is_some());
            }
        }
        Ok(ended)
    }

    async fn end_begun_by(&self, user: &FlexUserSid, at: OffsetDateTime) -> Result<Vec<SessionKey>, StoreError> {
        let mut ended = Vec::new();
        for marks in [old_marks_pk(user), marks_pk(user)] {
            for mark in self.items(&marks, PREFIX).await? {
                let pk = text(&mark, SK)?;
                let request = self.client().await.delete_item().table_name(&*self.table);
                let request = request
                    .key(PK, s(pk))
                    .key(SK, s(SESSION))
                    .condition_expression("created_at <= :at")
                    .expression_attribute_values(":at", seconds(at));
                if refused(request.send().await)?.is_some() {
                    ended.push(pk.strip_prefix(PREFIX).unwrap_or_default().parse().map_err(super::corrupt)?);
                }
            }
        }
        Ok(ended)
    }

    /// Does nothing: the table's TTL removes expired sessions.
    async fn sweep(&self, _now: OffsetDateTime) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[async_trait]
impl Seats for DynamoStore {
    async fn take(&self, session: &Session, is_only: bool) -> Result<(), StoreError> {
        let seat = item_of(
            &marks_pk(&session.flex_user_sid),
            &seat_sk(&session.profile),
            [
                (SEAT, s(session.seat().as_str())),
                ("is_only", n(u8::from(is_only))),
                (EXPIRES_AT, seconds(session.created_at + LONGEST)),
            ],
        );
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(seat));
        request.send().await.map(drop).map_err(unavailable)
    }

    async fn newest(&self, user: &FlexUserSid, profile: &ProfileName) -> Result<Option<Seat>, StoreError> {
        self.item(&marks_pk(user), &seat_sk(profile)).await?.map(|item| seat(&item)).transpose()
    }
}

pub(super) fn seat(item: &Item) -> Result<Seat, StoreError> {
    Ok(Seat { seat: parsed(item, SEAT)?, is_only: number::<u8>(item, "is_only")? == 1 })
}

fn find<'a>(items: &'a [Item], sk: &str) -> Option<&'a Item> {
    items.iter().find(|item| text(item, SK).is_ok_and(|found| found == sk))
}

fn session(key: &SessionKey, item: &Item) -> Result<Session, StoreError> {
    Ok(Session {
        key: key.clone(),
        profile: parsed(item, "profile_name")?,
        flex_user_sid: parsed(item, "flex_user_sid")?,
        sealed: text(item, "sealed_tokens")?.to_owned(),
        version: number(item, "session_version")?,
        created_at: moment(item, "created_at")?,
        used_at: moment(item, "used_at")?,
        ends_at: moment(item, "ends_at")?,
        seat: if item.contains_key(SEAT) { Some(parsed(item, SEAT)?) } else { None },
        origin: origin(item)?,
    })
}

pub(super) fn origin(item: &Item) -> Result<SessionOrigin, StoreError> {
    let optional = |name: &str| text(item, name).ok().map(str::to_owned);
    let idle = if item.contains_key(IDLE) { Some(Duration::seconds(number(item, IDLE)?)) } else { None };
    Ok(SessionOrigin { username: optional(USERNAME), network: optional(NETWORK), browser: optional(BROWSER), idle })
}
