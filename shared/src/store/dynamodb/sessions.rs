//! Sessions in DynamoDB.
//!
//! A session consists of three items:
//! * the session itself, with the encrypted tokens;
//! * an entry in the list of all sessions. The list is sorted by user, so Flexgate can find and end all sessions of a
//!   user;
//! * an item called the use, with the time of the last use and the lease (the right of one process to refresh the
//!   tokens). It is a separate item because it is written often: DynamoDB charges for a write by the size of the item,
//!   and the tokens are large. Until the session is used for the first time, Flexgate takes the time of the last use
//!   from the session item. The use may remain after its session has ended.
//!
//! The entry is written before the session, so every session has an entry. Only the table's TTL removes entries, so an
//! entry can remain after its session has ended. This is necessary: if the answer to the write of a session is lost,
//! the SDK may write the session again after its end. The entry lets the next call of `end_all_of` find that session.
//!
//! One more item for each person and profile records the newest sign-in ([`Seat`]). If several sign-ins are concurrent,
//! the last write to this item decides which one is the newest.
//!
//! Version 0.2.0 wrote no entries. Instead it wrote an item for each session, called a mark, under the same partition
//! key as the user's binding. This version reads marks but does not write them. Version 0.2.0 stored the tokens as
//! text, and cannot read the tokens that this version stores. So after a downgrade to 0.2.0, people must sign in again.

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _};
use time::{Duration, OffsetDateTime};

use super::{DynamoStore, EXPIRES_AT, Item, PK, SK, sealed};
use super::{corrupt, item_of, moment, n, number, parsed, refused, request_number, s, seconds, text, unavailable};
use crate::domain::{FlexUserSid, ProfileName};
use crate::store::sessions::LONGEST;
use crate::store::{Lease, Seat, Seats, Session, SessionKey, SessionOrigin, Sessions, StoreError};

pub(super) const SESSION: &str = "session";
/// The sort key of the item called the use, which contains the time of the last use and the lease. This key begins with
/// the sort key of the session, so that one query reads both items.
pub(super) const USE: &str = "session_use";
/// The prefix of a session's partition key. The session marks of version 0.2.0 have the same prefix in their sort keys
/// ([`old_marks_pk`]).
pub(super) const PREFIX: &str = "session#";

/// Where version 0.2.0 stored the tokens.
const OLD_TOKENS: &str = "sealed_tokens";
/// The placeholder that this version writes to `OLD_TOKENS`. After a downgrade, version 0.2.0 cannot decrypt the
/// placeholder, so people must sign in again.
const NO_TOKENS: &str = "-";

/// The names of attributes that version 0.2.0 did not write.
const TOKENS: &str = "session_tokens";
pub(super) const SEAT: &str = "seat_key";
pub(super) const USERNAME: &str = "signed_in_username";
pub(super) const NETWORK: &str = "network_prefix";
pub(super) const BROWSER: &str = "browser_family";
pub(super) const IDLE: &str = "idle_seconds";

/// How many of a user's sessions are removed concurrently. One at a time would be too slow: a user who signs in again
/// and again can have thousands of entries in the list of sessions.
const REMOVALS: usize = 32;

/// The number of partitions of the list of sessions. A partition accepts about 1,000 writes a second.
pub(super) const LIST_PARTITIONS: usize = 8;

pub(super) fn pk(key: &SessionKey) -> String {
    format!("{PREFIX}{}", key.as_str())
}

/// Returns the partition key of a user's session marks. A mark is an item with which version 0.2.0 recorded that a
/// session belongs to the user.
pub(super) fn old_marks_pk(user: &FlexUserSid) -> String {
    format!("user#{user}")
}

/// Returns the keys of the item that records a user's newest sign-in through a profile.
pub(super) fn seat_keys(user: &FlexUserSid, profile: &ProfileName) -> (String, String) {
    (format!("newest_seat#{user}"), format!("seat#{profile}"))
}

pub(super) fn list_pk(partition: usize) -> String {
    format!("session_list#{partition}")
}

/// Returns the number of the list's partition that contains a user's sessions. The number depends on the last character
/// of the SID.
pub(super) fn list_partition(user: &FlexUserSid) -> usize {
    let last = user.as_str().bytes().last().unwrap_or_default();
    usize::from(last) % LIST_PARTITIONS
}

/// Returns the sort key of a session's entry in the list.
pub(super) fn entry_sk(user: &FlexUserSid, key: &SessionKey) -> String {
    format!("{user}#{}", key.as_str())
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
                (OLD_TOKENS, s(NO_TOKENS)),
                (TOKENS, sealed::attribute(&session.sealed)),
                ("session_version", n(session.version)),
                ("created_at", seconds(session.created_at)),
                ("used_at", seconds(session.used_at)),
                ("ends_at", seconds(session.ends_at)),
                (EXPIRES_AT, seconds(session.ends_at)),
            ],
        );
        let SessionOrigin { username, network, browser, idle } = &session.origin;
        let seat = session.seat.as_ref().map(|seat| seat.as_str().to_owned());
        let texts = [(USERNAME, username), (NETWORK, network), (BROWSER, browser), (SEAT, &seat)];
        item.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), s(text.as_ref()?)))));
        item.extend(idle.map(|idle| (IDLE.to_owned(), n(idle.whole_seconds()))));
        let user = &session.flex_user_sid;
        let list = list_pk(list_partition(user));
        let entry = item_of(&list, &entry_sk(user, &session.key), [(EXPIRES_AT, seconds(session.ends_at))]);
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(entry));
        request.send().await.map_err(unavailable)?;
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item.clone()));
        let inserted = refused(request.condition_expression("attribute_not_exists(pk)").send().await)?;
        // If the answer to an earlier attempt was lost, the stored item equals this one. No other request can store an
        // equal item, because each encryption of the tokens gives a different text.
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

    /// Requests the lease first, and reads the session and the use (the item with the lease) afterwards. So if another
    /// process has changed the session before the lease was granted, this function sees the session's new version. If
    /// the answer to the request is lost, the use shows which request got the lease, because the use contains that
    /// request's number.
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
            .update_expression("SET session_tokens = :sealed, sealed_tokens = :none, session_version = :next")
            .condition_expression("attribute_exists(pk) AND session_version = :version")
            .expression_attribute_values(":sealed", sealed::attribute(sealed))
            .expression_attribute_values(":none", s(NO_TOKENS))
            .expression_attribute_values(":next", n(version + 1))
            .expression_attribute_values(":version", n(version));
        if refused(request.send().await)?.is_some() {
            return Ok(true);
        }
        // If the stored tokens equal `sealed`, an earlier attempt at this request stored them. No other request can
        // have done so, because each encryption gives a different text.
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
        let remove = |key| async move { Ok(self.remove(&pk(&key), SESSION).await?.map(|_| key)) };
        let ended = each(self.sessions_of(user).await?, remove).await?;
        Ok(ended.len() as u64)
    }

    async fn end_begun_by(&self, user: &FlexUserSid, at: OffsetDateTime) -> Result<Vec<SessionKey>, StoreError> {
        let remove = |key| async move {
            let request = self.client().await.delete_item().table_name(&*self.table);
            let request = request
                .key(PK, s(pk(&key)))
                .key(SK, s(SESSION))
                .condition_expression("created_at <= :at")
                .expression_attribute_values(":at", seconds(at));
            Ok(refused(request.send().await)?.map(|_| key))
        };
        each(self.sessions_of(user).await?, remove).await
    }

    /// Does nothing: the table's TTL removes expired sessions.
    async fn sweep(&self, _now: OffsetDateTime) -> Result<u64, StoreError> {
        Ok(0)
    }
}

#[async_trait]
impl Seats for DynamoStore {
    async fn take(&self, session: &Session, is_only: bool) -> Result<(), StoreError> {
        let (pk, sk) = seat_keys(&session.flex_user_sid, &session.profile);
        let seat = item_of(
            &pk,
            &sk,
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
        let (pk, sk) = seat_keys(user, profile);
        self.item(&pk, &sk).await?.map(|item| seat(&item)).transpose()
    }
}

impl DynamoStore {
    /// Returns the keys of a user's sessions, some of which may have ended.
    pub(super) async fn sessions_of(&self, user: &FlexUserSid) -> Result<Vec<SessionKey>, StoreError> {
        let (list, old_marks) = (list_pk(list_partition(user)), old_marks_pk(user));
        let prefix = format!("{user}#");
        let (entries, marks) =
            tokio::try_join!(Box::pin(self.items(&list, &prefix)), Box::pin(self.items(&old_marks, PREFIX)))?;
        let keys =
            entries.iter().map(|entry| key_in(entry, &prefix)).chain(marks.iter().map(|mark| key_in(mark, PREFIX)));
        keys.collect()
    }
}

/// Removes sessions, several at the same time, and returns the removed ones. If a removal fails, the others still run,
/// and the first error is returned.
async fn each<F: Future<Output = Result<Option<SessionKey>, StoreError>>>(
    keys: Vec<SessionKey>,
    remove: impl FnMut(SessionKey) -> F,
) -> Result<Vec<SessionKey>, StoreError> {
    let removals: Vec<_> = stream::iter(keys).map(remove).buffer_unordered(REMOVALS).collect().await;
    removals.into_iter().filter_map(Result::transpose).collect()
}

/// Returns the key of the session to which an item refers. The item is an entry of the list, or a mark of version 0.2.0
/// ([`old_marks_pk`]).
fn key_in(entry: &Item, prefix: &str) -> Result<SessionKey, StoreError> {
    text(entry, SK)?.strip_prefix(prefix).unwrap_or_default().parse().map_err(corrupt)
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
        sealed: sealed::sealed(item, if item.contains_key(TOKENS) { TOKENS } else { OLD_TOKENS })?,
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
