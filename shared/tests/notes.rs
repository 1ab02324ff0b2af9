//! Tests the notes about refused requests and ignored events, in SQLite and in DynamoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[path = "common/dynamodb.rs"]
mod dynamodb;

use std::sync::Arc;

use flexgate::store::{NOTES_KEPT, Note, Noted, Notes, SqliteStore};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-01-10 09:00 UTC);

/// Uses DynamoDB if `FLEXGATE_TEST_AWS_ENDPOINT` is set (by `tests/run aws`), and otherwise SQLite.
async fn notes() -> (Arc<dyn Notes>, Option<tempfile::TempDir>) {
    if let Ok(endpoint) = std::env::var("FLEXGATE_TEST_AWS_ENDPOINT") {
        return (Arc::new(dynamodb::table(&endpoint).await), None);
    }
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("flexgate.db")).unwrap();
    (Arc::new(store), Some(folder))
}

fn refused(reason: &str, at: OffsetDateTime) -> Note {
    Note {
        noted: Noted::Refused,
        source: "scim:okta".into(),
        route: "POST /scim/v2/Users".into(),
        code: "scim_invalid_value".into(),
        reason: reason.into(),
        external_id: Some("00u1".into()),
        times: 1,
        at,
    }
}

#[tokio::test]
async fn the_same_on_one_day_is_one_note_that_counts() {
    let (notes, _folder) = notes().await;
    for (minute, times) in [(0, 1), (5, 2), (3, 1)] {
        notes.note(&Note { times, ..refused("a", NOW + Duration::minutes(minute)) }).await.unwrap();
    }
    notes.note(&refused("b", NOW + Duration::minutes(1))).await.unwrap();
    notes.note(&Note { noted: Noted::Ignored, ..refused("a", NOW - Duration::minutes(1)) }).await.unwrap();
    notes.note(&refused("a", NOW + Duration::DAY)).await.unwrap();
    let found = notes.notes(NOW + Duration::DAY).await.unwrap();
    let facts: Vec<_> = found.iter().map(|note| (note.noted, &*note.reason, note.times)).collect();
    let (refused, ignored) = (Noted::Refused, Noted::Ignored);
    assert_eq!(facts, [(refused, "a", 1), (refused, "a", 4), (refused, "b", 1), (ignored, "a", 1)], "the latest first");
    assert_eq!(found[1].external_id.as_deref(), Some("00u1"));
}

#[tokio::test]
async fn a_note_is_gone_after_a_week() {
    let (notes, _folder) = notes().await;
    notes.note(&refused("a", NOW)).await.unwrap();
    assert_eq!(notes.notes(NOW + NOTES_KEPT - Duration::SECOND).await.unwrap(), [refused("a", NOW)]);
    assert_eq!(notes.notes(NOW + NOTES_KEPT + Duration::SECOND).await.unwrap(), []);
}

#[test]
fn no_client_can_store_a_long_text() {
    let long = "x".repeat(100_000);
    let note = Note { external_id: Some(long.as_str().into()), ..refused(&long, NOW) }.shortened();
    assert!(serde_json::to_string(&note).unwrap().len() < 1_000);
}
