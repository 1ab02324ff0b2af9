//! Stores notes about refused requests and ignored events in DynamoDB. The notes of one day share a partition key, and
//! expire after [`NOTES_KEPT`].

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::{DynamoStore, EXPIRES_AT, PK, SK, corrupt, moment, n, number, s, seconds, text};
use crate::store::StoreError;
use crate::store::activity::{NOTES_KEPT, Note, Notes};

/// The prefix of every note's sort key.
const NOTE: &str = "note#";

fn pk(day: &str) -> String {
    format!("notes#{day}")
}

#[async_trait]
impl Notes for DynamoStore {
    async fn note(&self, note: &Note) -> Result<(), StoreError> {
        let document = serde_json::to_string(note).map_err(corrupt)?;
        let request = self.client().await.update_item().table_name(&*self.table);
        let request = request
            .key(PK, s(pk(&note.day())))
            .key(SK, s(format!("{NOTE}{}", note.key())))
            .update_expression("SET note_json = :note, noted_at = :at, expires_at = :expires ADD noted_times :times")
            .expression_attribute_values(":note", s(document))
            .expression_attribute_values(":at", seconds(note.at))
            .expression_attribute_values(":expires", seconds(note.at + NOTES_KEPT))
            .expression_attribute_values(":times", n(note.times));
        self.send_update(request).await.map(drop)
    }

    async fn notes(&self, now: OffsetDateTime) -> Result<Vec<Note>, StoreError> {
        let mut notes = Vec::new();
        for day in 0..=NOTES_KEPT.whole_days() {
            let date = (now - Duration::days(day)).to_offset(time::UtcOffset::UTC).date();
            for item in self.items(&pk(&date.to_string()), NOTE).await? {
                if moment(&item, EXPIRES_AT)? < now {
                    continue;
                }
                let note: Note = serde_json::from_str(text(&item, "note_json")?).map_err(corrupt)?;
                notes.push(Note { times: number(&item, "noted_times")?, at: moment(&item, "noted_at")?, ..note });
            }
        }
        notes.sort_by_key(|note| std::cmp::Reverse(note.at));
        Ok(notes)
    }
}
