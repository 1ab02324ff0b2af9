//! Tests the store of the people ledger and of the username index, in SQLite and in DynamoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[path = "../common/dynamodb.rs"]
mod dynamodb;

mod cancelled;
mod inactive;
mod index;
mod leases;
mod paging;
mod races;
mod statements;
mod takeover;

use std::sync::Arc;

use flexgate::domain::FlexUserSid;
use flexgate::domain::ledger::{Given, Person, PersonId, Said, Source, Statement};
use flexgate::store::{
    Deactivations, Noting, People, PersonKey, PersonLease, SqliteStore, Stating, UsernameIndex, Written,
};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

/// The number of writers that compete in the tests of races.
const WRITERS: u8 = 16;

trait Store: People + Deactivations + UsernameIndex {}
impl<S: People + Deactivations + UsernameIndex> Store for S {}

/// The store under test, and a second instance with the same data, as another process would have.
struct Adapter {
    one: Arc<dyn Store>,
    other: Arc<dyn Store>,
    _folder: Option<tempfile::TempDir>,
}

/// Uses DynamoDB if `FLEXGATE_TEST_AWS_ENDPOINT` is set (by `tests/run aws`), and otherwise SQLite.
async fn store() -> Adapter {
    if let Ok(endpoint) = std::env::var("FLEXGATE_TEST_AWS_ENDPOINT") {
        let table = dynamodb::table(&endpoint).await;
        return Adapter { one: Arc::new(table.clone()), other: Arc::new(table), _folder: None };
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    let open = || Arc::new(SqliteStore::open(&path).unwrap());
    Adapter { one: open(), other: open(), _folder: Some(folder) }
}

fn id(number: u8) -> PersonId {
    PersonId::of([number; 16])
}

fn sid(number: u8) -> FlexUserSid {
    format!("FU{number:032x}").parse().unwrap()
}

fn source(text: &str) -> Source {
    text.parse().unwrap()
}

fn by_name(name: &str) -> PersonKey {
    PersonKey::Username(name.parse::<flexgate::domain::Username>().unwrap().key())
}

fn by_sid(number: u8) -> PersonKey {
    PersonKey::FlexUser(sid(number))
}

fn by_subject(of: &str, subject: &str) -> PersonKey {
    PersonKey::Subject(source(of), subject.parse().unwrap())
}

/// Returns a statement that says only whether the person is active.
fn says_active(active: bool) -> Statement {
    let said = Said::access(NOW, &"e".parse().unwrap(), active);
    Statement { active: Some(said), ..Statement::default() }
}

/// Returns a person with the Flex user `number`. The webhook source `okta` says that the person is active. Its id for
/// the person is `u-{number}`.
fn person(number: u8, name: &str) -> Person {
    let mut person = Person::new(id(number), name.parse().unwrap());
    person.flex_user_sid = Some(sid(number));
    person.statements.insert(source("webhook:okta"), says_active(true));
    person.subjects.insert(source("webhook:okta"), format!("u-{number}").parse().unwrap());
    person
}

impl Adapter {
    /// Writes a new person, and reads the person with the second instance of the store.
    async fn add(&self, person: &Person) -> Person {
        assert_eq!(self.one.add(person, None).await.unwrap(), Written::Yes(1));
        self.read(person.id).await
    }

    async fn read(&self, id: PersonId) -> Person {
        self.other.person(&PersonKey::Id(id)).await.unwrap().unwrap()
    }

    /// Returns the person whom the second instance of the store finds by this key.
    async fn led_to(&self, key: &PersonKey) -> Option<PersonId> {
        self.other.person(key).await.unwrap().map(|person| person.id)
    }

    /// Writes a statement if the stored version is still that of `person`.
    async fn state(&self, person: &Person, of: &str, statement: &Statement, subject: Option<&str>) -> Written {
        let (source, subject) = (source(of), subject.map(|subject| subject.parse().unwrap()));
        let stating = Stating { source: &source, statement, subject: subject.as_ref(), given: None };
        self.one.state(person.id, person.version, stating).await.unwrap()
    }

    /// Records a Flex user if the stored version is still that of `person`.
    async fn note(&self, person: &Person, user: Option<u8>) -> Written {
        let user = user.map(sid);
        let noting = Noting { given: &Given::default(), flex_user_sid: user.as_ref(), username: &person.username };
        self.one.note(person.id, person.version, noting).await.unwrap()
    }

    async fn lease(&self, holder: u128, now: OffsetDateTime, until: OffsetDateTime) -> PersonLease {
        self.one.lease(id(1), holder, now, until).await.unwrap()
    }
}
