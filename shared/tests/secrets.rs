//! Tests the cache of secrets. Values stay fresh for a limited time, many readers share one fetch, and older values are
//! served while the source is down.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use flexgate::base::clock_rng::ManualClock;
use flexgate::base::outbound::Deadline;
use flexgate::secrets::{CachedSecret, FetchError, FileSecrets, SecretError, SecretSource, SecretValue, Stage};
use serde::Deserialize;
use time::Duration;
use time::macros::datetime;

#[derive(Deserialize)]
struct Document {
    value: u32,
}

/// A source of secrets that reads files slowly and counts the reads.
#[derive(Debug)]
struct Counted {
    files: FileSecrets,
    fetches: AtomicUsize,
    delay: std::time::Duration,
}

#[async_trait]
impl SecretSource for Counted {
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.delay).await;
        self.files.fetch(id, stage, deadline).await
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    source: Arc<Counted>,
    clock: Arc<ManualClock>,
    secret: Arc<CachedSecret<Document>>,
}

impl Fixture {
    fn new() -> Self {
        Self::with_delay(std::time::Duration::from_millis(20))
    }

    /// Makes a fixture whose source answers each fetch after `delay`.
    fn with_delay(delay: std::time::Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Arc::new(Counted { files: FileSecrets::new(folder.path()), fetches: AtomicUsize::new(0), delay });
        let clock = ManualClock::at(datetime!(2026-01-01 09:00 UTC));
        let secret = Arc::new(CachedSecret::new("a/secret", source.clone(), clock.clone()));
        let fixture = Self { folder, source, clock, secret };
        std::fs::create_dir_all(fixture.folder.path().join("a")).unwrap();
        fixture.write(1);
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("a/secret.json")
    }

    fn write(&self, value: u32) {
        std::fs::write(self.path(), format!("{{\"value\": {value}}}")).unwrap();
    }

    async fn value(&self) -> Result<u32, SecretError> {
        self.secret.get(soon()).await.map(|held| held.value.value)
    }

    fn fetches(&self) -> usize {
        self.source.fetches.load(Ordering::SeqCst)
    }
}

fn soon() -> Deadline {
    Deadline::after(std::time::Duration::from_secs(5))
}

#[tokio::test]
async fn a_value_is_fetched_once_in_five_minutes() {
    let fixture = Fixture::new();
    assert_eq!(fixture.value().await.unwrap(), 1);
    fixture.write(2);
    fixture.clock.advance(Duration::seconds(299));
    assert_eq!((fixture.value().await.unwrap(), fixture.fetches()), (1, 1));
    fixture.clock.advance(Duration::seconds(1));
    assert_eq!((fixture.value().await.unwrap(), fixture.fetches()), (2, 2));
}

#[tokio::test]
async fn fifty_who_ask_at_once_cause_one_fetch() {
    let fixture = Fixture::new();
    let asks: Vec<_> = (0..50)
        .map(|_| {
            let secret = fixture.secret.clone();
            tokio::spawn(async move { secret.get(soon()).await.unwrap().value.value })
        })
        .collect();
    for ask in asks {
        assert_eq!(ask.await.unwrap(), 1);
    }
    assert_eq!(fixture.fetches(), 1);
}

#[tokio::test]
async fn while_the_source_is_down_the_last_value_serves_for_an_hour_and_the_source_is_left_in_peace() {
    let fixture = Fixture::new();
    fixture.value().await.unwrap();
    std::fs::remove_file(fixture.path()).unwrap();
    fixture.clock.advance(Duration::minutes(10));
    for _ in 0..10 {
        assert_eq!(fixture.value().await.unwrap(), 1);
    }
    assert_eq!(fixture.fetches(), 2, "one failed fetch, then a pause");
    fixture.clock.advance(Duration::seconds(5));
    assert_eq!((fixture.value().await.unwrap(), fixture.fetches()), (1, 3));
    fixture.clock.advance(Duration::minutes(50));
    assert!(matches!(fixture.value().await, Err(SecretError::Unreadable { .. })));
    fixture.write(3);
    fixture.clock.advance(Duration::seconds(5));
    assert_eq!(fixture.value().await.unwrap(), 3, "it recovers after the pause");
}

#[tokio::test]
async fn a_refused_value_is_fetched_again_but_not_in_a_flood() {
    let fixture = Fixture::new();
    let held = fixture.secret.get(soon()).await.unwrap();
    fixture.write(2);
    let renewed = fixture.secret.get_after_rejection(&held.version, soon()).await.unwrap();
    assert_eq!((renewed.value.value, fixture.fetches()), (2, 2));
    // Another request that had the old value gets the new value without a fetch.
    let renewed = fixture.secret.get_after_rejection(&held.version, soon()).await.unwrap();
    assert_eq!((renewed.value.value, fixture.fetches()), (2, 2));
    // The new value is rejected too, but the next fetch must wait for the minimum time between fetches.
    fixture.write(3);
    for _ in 0..10 {
        let same = fixture.secret.get_after_rejection(&renewed.version, soon()).await.unwrap();
        assert_eq!((same.value.value, fixture.fetches()), (2, 2));
    }
    fixture.clock.advance(Duration::seconds(60));
    let third = fixture.secret.get_after_rejection(&renewed.version, soon()).await.unwrap();
    assert_eq!((third.value.value, fixture.fetches()), (3, 3));
}

#[tokio::test]
async fn a_document_of_the_wrong_shape_is_named_and_not_shown() {
    let fixture = Fixture::new();
    for text in ["{\"value\": \"canary\"}", "canary", "{\"canary\": 1}", ""] {
        std::fs::write(fixture.path(), text).unwrap();
        fixture.clock.advance(Duration::seconds(5));
        let error = fixture.value().await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(matches!(error, SecretError::Malformed { .. }), "{said}");
        assert!(said.contains("a/secret") && !said.contains("canary"), "{said}");
    }
}

#[tokio::test]
async fn a_deadline_is_kept_while_another_fetches() {
    let long = std::time::Duration::from_mins(1);
    let fixture = Fixture::with_delay(long);
    let secret = fixture.secret.clone();
    let first = tokio::spawn(async move { secret.get(Deadline::after(long)).await.map(drop) });
    while fixture.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    let hurried = fixture.secret.get(Deadline::after(std::time::Duration::from_millis(2))).await;
    assert!(matches!(hurried, Err(SecretError::Timeout { .. })), "{hurried:?}");
    assert_eq!(fixture.fetches(), 1);
    first.abort();
}

#[tokio::test]
async fn names_that_leave_the_folder_are_no_secrets() {
    let fixture = Fixture::new();
    std::fs::write(fixture.folder.path().join("outside.json"), "{\"value\": 1}").unwrap();
    let files = FileSecrets::new(fixture.folder.path().join("a"));
    for id in ["../outside", "a/../../outside", "/etc/passwd", "", ".", "a//b"] {
        let fetched = files.fetch(id, Stage::Current, soon()).await;
        assert!(matches!(fetched, Err(FetchError::NotFound)), "{id}");
    }
    assert!(matches!(files.fetch("secret", Stage::Pending, soon()).await, Err(FetchError::NotFound)));
}

/// Returns a cache for a secret that may be unset, and resets the counter of fetches to zero.
fn may_be_unset(fixture: &Fixture) -> CachedSecret<Option<Document>> {
    fixture.source.fetches.store(0, Ordering::SeqCst);
    CachedSecret::that_may_be_unset("a/secret", fixture.source.clone(), fixture.clock.clone())
}

#[tokio::test]
async fn r77_a_secret_that_is_not_set_yet_is_a_value_and_is_cached() {
    for text in [None, Some(""), Some(" \n"), Some("null")] {
        let fixture = Fixture::new();
        let secret = may_be_unset(&fixture);
        std::fs::remove_file(fixture.path()).unwrap();
        if let Some(text) = text {
            std::fs::write(fixture.path(), text).unwrap();
        }
        for _ in 0..10 {
            let held = secret.get(soon()).await.unwrap();
            assert!(held.value.is_none() && !held.is_set(), "{text:?}");
        }
        assert_eq!(fixture.fetches(), 1, "{text:?}");
        fixture.write(1);
        fixture.clock.advance(Duration::minutes(5));
        let held = secret.get(soon()).await.unwrap();
        assert!(held.is_set() && held.value.as_ref().unwrap().value == 1, "{text:?}");
    }
}

#[tokio::test]
async fn r77_a_rejection_reads_the_secret_once_a_minute() {
    let fixture = Fixture::new();
    let secret = may_be_unset(&fixture);
    std::fs::remove_file(fixture.path()).unwrap();
    let ask = async || secret.get_accepted(soon(), Option::is_some).await.unwrap().is_set();
    for minute in 1..=10 {
        for _ in 0..10 {
            assert!(!ask().await);
        }
        assert_eq!(fixture.fetches(), minute);
        fixture.clock.advance(Duration::minutes(1));
    }
    fixture.write(1);
    assert!(ask().await, "a minute after the last read");
    assert!(ask().await);
    assert_eq!(fixture.fetches(), 11);
}

#[tokio::test]
async fn a_value_that_is_accepted_is_not_read_again() {
    let fixture = Fixture::new();
    for _ in 0..10 {
        let held = fixture.secret.get_accepted(soon(), |document| document.value == 1).await.unwrap();
        assert_eq!((held.value.value, fixture.fetches()), (1, 1));
    }
    fixture.write(2);
    let held = fixture.secret.get_accepted(soon(), |document| document.value == 2).await.unwrap();
    assert_eq!((held.value.value, fixture.fetches()), (2, 2), "a newer value is found at once");
}

#[tokio::test]
async fn r77_a_secret_that_was_set_stays_for_an_hour_when_it_disappears() {
    let fixture = Fixture::new();
    let secret = may_be_unset(&fixture);
    assert!(secret.get(soon()).await.unwrap().is_set());
    std::fs::write(fixture.path(), "").unwrap();
    fixture.clock.advance(Duration::minutes(59));
    assert!(secret.get(soon()).await.unwrap().is_set(), "an empty file can be a mistake");
    fixture.clock.advance(Duration::minutes(1));
    assert!(!secret.get(soon()).await.unwrap().is_set());
}

#[tokio::test]
async fn r77_an_unusable_secret_is_read_once_in_five_seconds() {
    for text in [None, Some(""), Some("{}"), Some("not JSON")] {
        let fixture = Fixture::new();
        std::fs::remove_file(fixture.path()).unwrap();
        if let Some(text) = text {
            std::fs::write(fixture.path(), text).unwrap();
        }
        for _ in 0..10 {
            fixture.value().await.unwrap_err();
        }
        assert_eq!(fixture.fetches(), 1, "{text:?}");
        fixture.write(1);
        fixture.clock.advance(Duration::seconds(5));
        assert_eq!(fixture.value().await.unwrap(), 1, "{text:?}");
    }
}

#[tokio::test]
async fn a_source_that_is_unavailable_is_asked_again_at_once() {
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.path()).unwrap();
    std::fs::create_dir(fixture.path()).unwrap();
    let error = fixture.value().await.unwrap_err();
    assert!(matches!(error, SecretError::Unreadable { source: FetchError::Unavailable(_), .. }), "{error:?}");
    std::fs::remove_dir(fixture.path()).unwrap();
    fixture.write(1);
    assert_eq!(fixture.value().await.unwrap(), 1);
}
