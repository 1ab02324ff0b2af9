//! Tests which Twilio credential Flexgate uses during a rotation. `functions/mint/tests/mint/rotation.rs` tests this
//! with concurrent requests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use flexgate::base::clock_rng::ManualClock;
use flexgate::base::outbound::Deadline;
use flexgate::secrets::{FetchError, FileSecrets, HeldCredential, SecretSource, SecretValue, Stage, TwilioCredentials};
use secrecy::ExposeSecret as _;
use time::Duration;
use time::macros::datetime;

/// A source of secrets that reads files and counts the reads. It can complete a rotation just before the pending
/// version is read.
#[derive(Debug)]
struct Rotating {
    files: FileSecrets,
    folder: PathBuf,
    ends_before_pending: bool,
    fetches: AtomicUsize,
}

#[async_trait]
impl SecretSource for Rotating {
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if self.ends_before_pending && stage == Stage::Pending {
            std::fs::rename(self.folder.join("twilio.pending.json"), self.folder.join("twilio.json")).unwrap();
        }
        self.files.fetch(id, stage, deadline).await
    }
}

struct Rotation {
    folder: tempfile::TempDir,
    source: Arc<Rotating>,
    clock: Arc<ManualClock>,
    credentials: Arc<TwilioCredentials>,
}

fn soon() -> Deadline {
    Deadline::after(std::time::Duration::from_secs(5))
}

impl Rotation {
    fn new(ends_before_pending: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Arc::new(Rotating {
            files: FileSecrets::new(folder.path()),
            folder: folder.path().to_owned(),
            ends_before_pending,
            fetches: AtomicUsize::new(0),
        });
        let clock = ManualClock::at(datetime!(2026-01-01 09:00 UTC));
        let credentials = Arc::new(TwilioCredentials::new("twilio", source.clone(), clock.clone()));
        let rotation = Self { folder, source, clock, credentials };
        rotation.write("twilio.json", "old");
        rotation
    }

    fn write(&self, name: &str, auth_token: &str) {
        let document = format!(r#"{{"accountSid": "AC{}", "authToken": "{auth_token}"}}"#, "0".repeat(32));
        std::fs::write(self.folder.path().join(name), document).unwrap();
    }

    async fn after(&self, rejected: &HeldCredential) -> Option<String> {
        let next = self.credentials.after_rejection(rejected, soon()).await.unwrap();
        next.map(|next| next.password.expose_secret().to_owned())
    }

    async fn current(&self) -> HeldCredential {
        self.credentials.current(soon()).await.unwrap()
    }

    fn fetches(&self) -> usize {
        self.source.fetches.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_rotation_that_ends_between_two_reads_is_not_missed() {
    let rotation = Rotation::new(true);
    let old = rotation.current().await;
    rotation.write("twilio.pending.json", "new");
    assert_eq!(rotation.after(&old).await.as_deref(), Some("new"));
    assert_eq!(rotation.current().await.password.expose_secret(), "new");
}

#[tokio::test]
async fn fifty_who_are_rejected_at_once_cause_one_search() {
    let rotation = Rotation::new(false);
    let old = rotation.current().await;
    rotation.write("twilio.pending.json", "new");
    let searches = (0..50).map(|_| {
        let (credentials, old) = (rotation.credentials.clone(), old.clone());
        tokio::spawn(async move { credentials.after_rejection(&old, soon()).await.unwrap() })
    });
    for search in searches.collect::<Vec<_>>() {
        assert_eq!(search.await.unwrap().unwrap().password.expose_secret(), "new");
    }
    assert_eq!(rotation.fetches(), 3, "the first, the current one again, the pending one");
}

#[tokio::test]
async fn a_search_in_vain_is_repeated_after_a_rest() {
    let rotation = Rotation::new(false);
    let old = rotation.current().await;
    for _ in 0..50 {
        assert_eq!(rotation.after(&old).await, None);
    }
    assert_eq!(rotation.fetches(), 4);
    rotation.write("twilio.json", "new");
    rotation.clock.advance(Duration::seconds(4));
    assert_eq!(rotation.after(&old).await, None);
    rotation.clock.advance(Duration::seconds(1));
    assert_eq!(rotation.after(&old).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_rejected_pending_credential_gives_way_to_the_current_one_and_is_tried_again_later() {
    let rotation = Rotation::new(false);
    let old = rotation.current().await;
    rotation.write("twilio.pending.json", "too-early");
    assert_eq!(rotation.after(&old).await.as_deref(), Some("too-early"));
    let pending = rotation.current().await;
    assert_eq!(rotation.after(&pending).await.as_deref(), Some("old"));
    assert_eq!(rotation.current().await.password.expose_secret(), "old");
    assert_eq!(rotation.after(&old).await, None, "it rests");
    rotation.clock.advance(Duration::seconds(5));
    assert_eq!(rotation.after(&old).await.as_deref(), Some("too-early"));
}

#[tokio::test]
async fn debug_never_shows_the_credential() {
    let rotation = Rotation::new(false);
    let held = rotation.current().await;
    assert!(!format!("{held:?} {:?} {:?}", rotation.credentials, *held).contains("old"));
}
