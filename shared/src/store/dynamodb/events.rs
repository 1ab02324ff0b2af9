//! Dead letters in DynamoDB, and the events that versions before 0.2.0 recorded.
//!
//! All dead letters share one partition key, so one query lists them. This is fast enough, because there are few.

use async_trait::async_trait;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::{DynamoStore, EXPIRES_AT, Item, PK, SK};
use super::{corrupt, item_of, moment, n, number, refused, request_number, s, seconds, text};
use crate::domain::{History, Moment, SourceName, SubjectId};
use crate::store::{DeadLetter, DeadLetters, EventHistory, StoreError, fingerprint};

const HISTORY: &str = "history";
const DEAD_LETTERS: &str = "dead_letters";
const LETTER: &str = "letter#";
/// The attribute with a random number, which is new each time the message becomes a dead letter.
const NUMBER: &str = "letter_number";

/// How long a dead letter is stored. A dead letter contains personal data, so it is not stored for longer than an
/// operator needs it.
const KEPT: Duration = Duration::days(90);

fn pk(source: &SourceName, subject: &SubjectId) -> String {
    format!("subject#{}", fingerprint(&[source.as_str(), subject.as_str()]))
}

#[async_trait]
impl EventHistory for DynamoStore {
    async fn history(&self, source: &SourceName, subject: &SubjectId) -> Result<History, StoreError> {
        let item = self.item(&pk(source, subject), HISTORY).await?;
        item.map_or(Ok(History::default()), |item| read(text(&item, "history_text")?))
    }
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
                (NUMBER, request_number()),
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
        let Some(item) = self.item(DEAD_LETTERS, &letter_sk(key)).await? else { return Ok(false) };
        // Queue the message before removing the letter. A crash between these two steps leaves the message in both
        // places. In the opposite order, a crash would lose the message.
        self.queue.revive(&letter(&item)?, now).await?;
        // The message may have become a dead letter again since the read, with a new number. So remove the letter only
        // if it still has the number that was read. Letters from version 0.2.0 have no number.
        let request = self.client().await.delete_item().table_name(&*self.table);
        let request = request.key(PK, s(DEAD_LETTERS)).key(SK, s(letter_sk(key)));
        let request = match item.get(NUMBER) {
            Some(number) => request
                .condition_expression(format!("{NUMBER} = :number"))
                .expression_attribute_values(":number", number.clone()),
            None => request.condition_expression(format!("attribute_not_exists({NUMBER})")),
        };
        refused(request.send().await)?;
        Ok(true)
    }
}
