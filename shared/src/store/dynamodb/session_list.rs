//! The list of sessions in DynamoDB, for administrators.
//!
//! The list contains only the keys of sessions. With these keys, a batch request reads the sessions themselves, without
//! their tokens. Sessions that have ended are left out.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::sessions::{
    BROWSER, IDLE, LIST_PARTITIONS, NETWORK, SEAT, SESSION, USE, USERNAME, entry_sk, list_partition, list_pk, origin,
    pk, seat, seat_keys,
};
use super::{DynamoStore, Item, PK, SK, corrupt, moment, parsed, s, text, unavailable};
use crate::domain::FlexUserSid;
use crate::store::{
    ListedSession, SessionKey, SessionList, SessionPage, SessionPosition, SignInState, SignInSwitch as _, StoreError,
};

/// The number of list entries that are read for one page.
const PAGE: usize = 100;

#[async_trait]
impl SessionList for DynamoStore {
    async fn find(&self, key: &SessionKey, now: OffsetDateTime) -> Result<Option<ListedSession>, StoreError> {
        let (stored, _) = self.stored(vec![key.clone()]).await?;
        Ok(stored.into_iter().map(|(session, _)| session).find(|session| now < session.ends_at))
    }

    async fn of_user(&self, user: &FlexUserSid, now: OffsetDateTime) -> Result<Vec<ListedSession>, StoreError> {
        let mut sessions = self.live(self.sessions_of(user).await?, now).await?;
        sessions.sort_by(|a, b| (a.created_at, &a.key).cmp(&(b.created_at, &b.key)));
        Ok(sessions)
    }

    async fn page(&self, after: Option<&SessionPosition>, now: OffsetDateTime) -> Result<SessionPage, StoreError> {
        let mut found: Vec<SessionPosition> = Vec::new();
        let mut after = after.cloned();
        let first = after.as_ref().map_or(0, |after| list_partition(&after.user));
        for partition in first..LIST_PARTITIONS {
            let list = list_pk(partition);
            loop {
                let request = self.client().await.query().table_name(&*self.table).consistent_read(true);
                let request = request
                    .key_condition_expression("pk = :pk")
                    .expression_attribute_values(":pk", s(list.clone()))
                    .limit(i32::try_from(PAGE - found.len()).unwrap_or(i32::MAX));
                let start = after.take().map(|SessionPosition { user, key }| {
                    Item::from([(PK.into(), s(list.clone())), (SK.into(), s(entry_sk(&user, &key)))])
                });
                let answer = request.set_exclusive_start_key(start).send().await.map_err(unavailable)?;
                found.extend(answer.items.unwrap_or_default().iter().map(position).collect::<Result<Vec<_>, _>>()?);
                if found.len() >= PAGE {
                    let next = found.last().cloned();
                    return Ok(SessionPage { sessions: self.live(keys_of(found), now).await?, next });
                }
                let Some(reached) = answer.last_evaluated_key else { break };
                after = Some(position(&reached)?);
            }
        }
        Ok(SessionPage { sessions: self.live(keys_of(found), now).await?, next: None })
    }
}

/// Returns the position directly after this entry of the list.
fn position(entry: &Item) -> Result<SessionPosition, StoreError> {
    let (user, key) = text(entry, SK)?.split_once('#').unwrap_or_default();
    Ok(SessionPosition { user: user.parse().map_err(corrupt)?, key: key.parse().map_err(corrupt)? })
}

fn keys_of(positions: Vec<SessionPosition>) -> Vec<SessionKey> {
    positions.into_iter().map(|position| position.key).collect()
}

impl DynamoStore {
    /// Reads the sessions with these keys, and the state of the sign-in switch. Returns each session with its seat,
    /// which identifies the browser.
    async fn stored(
        &self,
        keys: Vec<SessionKey>,
    ) -> Result<(Vec<(ListedSession, SessionKey)>, SignInState), StoreError> {
        let wanted = keys.iter().flat_map(|key| [(pk(key), SESSION.to_owned()), (pk(key), USE.to_owned())]).collect();
        let shown = ["pk, sk, profile_name, flex_user_sid, created_at, used_at, ends_at", SEAT, USERNAME, NETWORK];
        let shown = [&shown[..], &[BROWSER, IDLE]].concat().join(", ");
        let (items, state) = tokio::try_join!(self.batch_of(wanted, Some(&shown)), self.sign_in_state())?;
        let by_key: BTreeMap<_, _> = items
            .iter()
            .map(|item| Ok(((text(item, PK)?, text(item, SK)?), item)))
            .collect::<Result<_, StoreError>>()?;
        let mut found = Vec::new();
        for key in keys {
            let pk = pk(&key);
            let Some(item) = by_key.get(&(pk.as_str(), SESSION)) else { continue };
            let mut session = ListedSession {
                key,
                profile: parsed(item, "profile_name")?,
                flex_user_sid: parsed(item, "flex_user_sid")?,
                created_at: moment(item, "created_at")?,
                used_at: moment(item, "used_at")?,
                ends_at: moment(item, "ends_at")?,
                origin: origin(item)?,
            };
            if let Some(last) = by_key.get(&(pk.as_str(), USE)).filter(|last| last.contains_key("used_at")) {
                session.used_at = session.used_at.max(moment(last, "used_at")?);
            }
            let own_seat = if item.contains_key(SEAT) { parsed(item, SEAT)? } else { session.key.clone() };
            found.push((session, own_seat));
        }
        Ok((found, state))
    }

    /// Reads the sessions with these keys, and leaves out those that have ended.
    async fn live(&self, keys: Vec<SessionKey>, now: OffsetDateTime) -> Result<Vec<ListedSession>, StoreError> {
        let (mut found, state) = self.stored(keys).await?;
        found.retain(|(session, _)| !session.has_ended(now) && !state.ends(session.created_at));
        let seats: BTreeSet<_> = found.iter().map(|(session, _)| seat_of(session)).collect();
        let seats: BTreeMap<_, _> = self
            .batch(seats)
            .await?
            .iter()
            .map(|item| Ok(((text(item, PK)?.to_owned(), text(item, SK)?.to_owned()), seat(item)?)))
            .collect::<Result<_, StoreError>>()?;
        found.retain(|(session, own)| !seats.get(&seat_of(session)).is_some_and(|newest| newest.displaces(own)));
        Ok(found.into_iter().map(|(session, _)| session).collect())
    }
}

/// Returns the key of the item that records the newest sign-in of the session's person with the session's profile.
fn seat_of(session: &ListedSession) -> (String, String) {
    seat_keys(&session.flex_user_sid, &session.profile)
}
