//! Decides how often Flexgate tells the administrator that it refused or ignored a delivery.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flexgate::store::{Message, Note};
use time::{Duration, OffsetDateTime};

/// The shortest time between two notes with the same content. The limit is needed because each note is a message in the
/// queue, and anybody can send deliveries that Flexgate refuses.
const BETWEEN: Duration = Duration::MINUTE;

/// The maximum number of different notes that are counted at the same time.
const MOST: usize = 256;

/// When a note was last sent, and how many equal notes were held back since.
type LastSent = (OffsetDateTime, u32);

/// When each recent note was last sent. The key consists of the source, route, code and reason.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<BTreeMap<[Box<str>; 4], LastSent>>);

impl Notices {
    /// Returns the message that stores the note, or `None` if an equal note was sent less than a minute ago. The number
    /// of times in the message includes the notes that were held back since the previous message.
    pub(crate) fn message(&self, note: Note) -> Option<Message> {
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
            return Some(Message::Note(Note { times, ..note }));
        }
        if noted.len() >= MOST {
            noted.retain(|_, (sent_at, _)| note.at - *sent_at < BETWEEN);
            if noted.len() >= MOST {
                return None;
            }
        }
        noted.insert(key, (note.at, 0));
        Some(Message::Note(note))
    }
}

#[cfg(test)]
mod tests {
    use flexgate::store::Noted;
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

    fn times(message: Option<Message>) -> Option<u32> {
        message.map(|message| match message {
            Message::Note(note) => note.times,
            other => unreachable!("{other:?}"),
        })
    }

    #[test]
    fn the_same_is_told_once_a_minute_with_its_number_of_times() {
        let (notices, now) = (Notices::default(), datetime!(2026-01-01 09:00 UTC));
        assert_eq!(times(notices.message(note("a", now))), Some(1));
        for second in 1..60 {
            assert_eq!(times(notices.message(note("a", now + Duration::seconds(second)))), None);
        }
        assert_eq!(times(notices.message(note("b", now))), Some(1));
        assert_eq!(times(notices.message(note("a", now + Duration::MINUTE))), Some(60));
    }

    #[test]
    fn ever_new_reasons_are_not_told_without_end() {
        let (notices, now) = (Notices::default(), datetime!(2026-01-01 09:00 UTC));
        let told = (0..1_000).filter_map(|number| notices.message(note(&number.to_string(), now))).count();
        assert_eq!(told, MOST);
        assert_eq!(times(notices.message(note("later", now + Duration::MINUTE))), Some(1));
    }
}
