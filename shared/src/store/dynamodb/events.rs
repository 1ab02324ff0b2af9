//! What has been applied to whom, and dead letters.
//!
//! A subject's history is one item, written only over what was read; a mark under the Flex user says
//! which subjects, not deactivated, are that user. Dead letters lie under one key: they are few, and a
//! person looks at all of them.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{
    DynamoStore, EXPIRES_AT, Item, SK, TRIES, Transacted, corrupt, crowded, item_of, moment, n, number, pause, s,
    seconds, text, unbuildable,
};
use crate::domain::{FlexUserSid, History, Moment, SourceName, SubjectId, Username};
use crate::store::{DeadLetter, DeadLetters, Recorded, StoreError, Subjects, fingerprint};

const HISTORY: &str = "history";
const DEAD_LETTERS: &str = "dead_letters";
const LETTER: &str = "letter#";

/// Personal data is kept no longer than a person may need to look at it.
const KEPT: Duration = Duration::days(90);

fn pk(source: &SourceName, subject: &SubjectId) -> String {
    format!("subject#{}", fingerprint(&[source.as_str(), subject.as_str()]))
}

fn mark(source: &SourceName) -> String {
    format!("subject#{}#", source.as_str())
}

#[async_trait]
impl Subjects for DynamoStore {
    async fn history(&self, source: &SourceName, subject: &SubjectId) -> Result<History, StoreError> {
        let item = self.item(&pk(source, subject), HISTORY).await?;
        item.map_or(Ok(History::default()), |item| read(text(&item, "history_text")?))
    }

    async fn hold(
        &self,
        source: &SourceName,
        subject: &SubjectId,
        username: &Username,
        now: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        self.hold_name(source, username, &pk(source, subject), now, until).await
    }

    async fn record(
        &self,
        source: &SourceName,
        subject: &SubjectId,
        before: &History,
        after: &History,
    ) -> Result<Recorded, StoreError> {
        let pk = pk(source, subject);
        let sk = format!("{}{pk}", mark(source));
        let holder = |history: &History| {
            history.user.as_ref().filter(|_| !history.deactivated()).map(|user| format!("user#{user}"))
        };
        for tried in 0..TRIES {
            if self.history(source, subject).await? != *before {
                return Ok(Recorded::Raced);
            }
            let mut writes = vec![self.over(item_of(&pk, HISTORY, [("history_text", s(write(after)))]), before)?];
            match (holder(before), holder(after)) {
                (Some(old), new) if new.as_ref() != Some(&old) => {
                    writes.push(self.delete(&old, &sk, None)?);
                    writes.extend(new.map(|new| self.put(item_of(&new, &sk, []), None)).transpose()?);
                }
                (_, new) => writes.extend(new.map(|new| self.put(item_of(&new, &sk, []), None)).transpose()?),
            }
            writes.extend(self.settle_names(&pk, !after.deactivated()).await?);
            match self.transact(writes).await? {
                Transacted::Yes => return Ok(Recorded::Yes),
                Transacted::No => pause(tried).await,
            }
        }
        Err(crowded())
    }

    async fn held_by_other(
        &self,
        source: &SourceName,
        subject: &SubjectId,
        user: &FlexUserSid,
    ) -> Result<bool, StoreError> {
        let own = format!("{}{}", mark(source), pk(source, subject));
        let marks = self.items(&format!("user#{user}"), &mark(source)).await?;
        Ok(marks.iter().any(|mark| text(mark, SK).is_ok_and(|sk| sk != own)))
    }
}

impl DynamoStore {
    /// A part of a transaction: writes the history if it still is `before`.
    fn over(&self, item: Item, before: &History) -> Result<TransactWriteItem, StoreError> {
        let new = if *before == History::default() { "attribute_not_exists(pk) OR " } else { "" };
        let put = Put::builder()
            .table_name(&*self.table)
            .set_item(Some(item))
            .condition_expression(format!("{new}history_text = :before"))
            .expression_attribute_values(":before", s(write(before)))
            .build()
            .map_err(unbuildable)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

/// A history as text: the same history is the same text.
fn write(history: &History) -> String {
    let moment = |moment: &Moment| {
        let nanos = moment.at.unix_timestamp_nanos().to_string();
        json!({ "at": nanos, "deactivates": moment.deactivates, "id": moment.id.as_str() })
    };
    let (status, profile) = (history.status.as_ref().map(moment), history.profile.as_ref().map(moment));
    json!({ "user": history.user.as_ref().map(FlexUserSid::as_str), "status": status, "profile": profile }).to_string()
}

fn read(text: &str) -> Result<History, StoreError> {
    let value: Value = serde_json::from_str(text).map_err(corrupt)?;
    let moment = |value: &Value| {
        let Some(nanos) = value["at"].as_str() else { return Ok(None) };
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos.parse().map_err(corrupt)?).map_err(corrupt)?;
        let id = value["id"].as_str().unwrap_or_default().parse().map_err(corrupt)?;
        Ok(Some(Moment { at, deactivates: value["deactivates"] == true, id }))
    };
    Ok(History {
        status: moment(&value["status"])?,
        profile: moment(&value["profile"])?,
        user: value["user"].as_str().map(str::parse).transpose().map_err(corrupt)?,
    })
}

fn letter_sk(key: &str) -> String {
    format!("{LETTER}{key}")
}

fn letter(item: &Item) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        key: text(item, "letter_key")?.to_owned(),
        source: text(item, "source_name")?.to_owned(),
        event_id: text(item, "event_id")?.to_owned(),
        body: text(item, "message_body")?.to_owned(),
        attempts: number(item, "tried_times")?,
        reason: text(item, "dead_because")?.to_owned(),
        since: moment(item, "dead_since")?,
    })
}

#[async_trait]
impl DeadLetters for DynamoStore {
    async fn bury(&self, letter: DeadLetter) -> Result<(), StoreError> {
        let item = item_of(
            DEAD_LETTERS,
            &letter_sk(&letter.key),
            [
                ("letter_key", s(letter.key)),
                ("source_name", s(letter.source)),
                ("event_id", s(letter.event_id)),
                ("message_body", s(letter.body)),
                ("tried_times", n(letter.attempts)),
                ("dead_because", s(letter.reason)),
                ("dead_since", seconds(letter.since)),
                (EXPIRES_AT, seconds(letter.since + KEPT)),
            ],
        );
        let request = self.client().await.put_item().table_name(&*self.table).set_item(Some(item));
        request.send().await.map(drop).map_err(super::unavailable)
    }

    async fn list(&self, limit: u32) -> Result<Vec<DeadLetter>, StoreError> {
        let items = self.items(DEAD_LETTERS, LETTER).await?;
        let mut letters = items.iter().map(letter).collect::<Result<Vec<_>, _>>()?;
        letters.sort_by_key(|letter| letter.since);
        letters.truncate(limit as usize);
        Ok(letters)
    }

    async fn find(&self, key: &str) -> Result<Option<DeadLetter>, StoreError> {
        self.item(DEAD_LETTERS, &letter_sk(key)).await?.as_ref().map(letter).transpose()
    }

    async fn revive(&self, key: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
        let Some(letter) = self.find(key).await? else { return Ok(false) };
        // Sent before it is removed: dying between the two leaves it twice, never nowhere.
        self.queue.revive(&letter, now).await?;
        self.remove(DEAD_LETTERS, &letter_sk(key)).await?;
        Ok(true)
    }
}
