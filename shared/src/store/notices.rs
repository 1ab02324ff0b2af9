//! Limits how often equal notes are stored. A note shows administrators that Flexgate refused a request or ignored an
//! event. Without this limit, anybody who sends bad requests could cause many writes to the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use time::{Duration, OffsetDateTime};

use super::Note;

/// The minimum time between two stored notes with the same content.
const BETWEEN: Duration = Duration::MINUTE;

/// The maximum number of different notes that are stored within one minute. Further notes are dropped.
const MOST: usize = 256;

/// When a note was last stored, and how many equal notes have not been stored since.
type LastSent = (OffsetDateTime, u32);

/// When each recent note was last stored. The key consists of the source, route, code and reason. Notes with the same
/// key count as equal.
#[derive(Debug, Default)]
pub struct Notices(Mutex<BTreeMap<[Box<str>; 4], LastSent>>);

impl Notices {
    /// Returns the note to store. Returns `None` if an equal note was stored less than a minute ago, or if too many
    /// different notes were stored in the last minute. The counter of a returned note includes the earlier equal notes
    /// that were not stored.
    #[must_use]
    pub fn due(&self, note: Note) -> Option<Note> {
        let note = note.shortened();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = [note.source.clone(), note.route.clone(), note.code.clone(), note.reason.clone()];
        if let Some((sent_at, since)) = noted.get_mut(&key) {
            *since = since.saturating_add(note.times);
            if note.at - *sent_at < BETWEEN {
                return None;
            }
            let times = std::mem::take(since);
            *sent_at = note.at;
            return Some(Note { times, ..note });
        }
        if noted.len() >= MOST {
            noted.retain(|_, (sent_at, _)| note.at - *sent_at < BETWEEN);
            if noted.len() >= MOST {
                return None;
            }
        }
        noted.insert(key, (note.at, 0));
        Some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Noted;
    use time::macros::datetime;

    use super::*;

    fn note(reason: &str, at: OffsetDateTime) -> Note {
        Note {
            noted: Noted::Refused,
            source: "okta".into(),
            route: "POST /webhooks/{source}".into(),
            code: "delivery_unproven".into(),
            reason: reason.into(),
            external_id: None,
            times: 1,
            at,
        }
    }

    fn times(note: Option<Note>) -> Option<u32> {
        note.map(|note| note.times)
    }

    #[test]
    fn the_same_is_told_once_a_minute_with_its_number_of_times() {
        let (notices, now) = (Notices::default(), datetime!(2026-01-01 09:00 UTC));
        assert_eq!(times(notices.due(note("a", now))), Some(1));
        for second in 1..60 {
            assert_eq!(times(notices.due(note("a", now + Duration::seconds(second)))), None);
        }
        assert_eq!(times(notices.due(note("b", now))), Some(1));
        assert_eq!(times(notices.due(note("a", now + Duration::MINUTE))), Some(60));
    }

    #[test]
    fn ever_new_reasons_are_not_told_without_end() {
        let (notices, now) = (Notices::default(), datetime!(2026-01-01 09:00 UTC));
        let told = (0..1_000).filter_map(|number| notices.due(note(&number.to_string(), now))).count();
        assert_eq!(told, MOST);
        assert_eq!(times(notices.due(note("later", now + Duration::MINUTE))), Some(1));
    }
}
