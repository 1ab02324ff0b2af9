//! Tests the SCIM store, in SQLite and in DynamoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![expect(clippy::disallowed_methods, reason = "tests/run names the emulator in the environment")]

#[path = "common/dynamodb.rs"]
mod dynamodb;

use std::sync::Arc;

use flexgate::domain::{FlexUserSid, Role};
use flexgate::store::scim::{Begun, Entry, Group, GroupWritten, Mark, Member, Work};
use flexgate::store::{ScimStore, SqliteStore};
use serde_json::{Map, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);
const LATER: OffsetDateTime = datetime!(2026-01-01 09:05 UTC);

/// Uses DynamoDB if `FLEXGATE_TEST_AWS_ENDPOINT` is set (by `tests/run aws`), and otherwise SQLite.
async fn scim_store() -> (Arc<dyn ScimStore>, Option<tempfile::TempDir>) {
    if let Ok(endpoint) = std::env::var("FLEXGATE_TEST_AWS_ENDPOINT") {
        return (Arc::new(dynamodb::table(&endpoint).await), None);
    }
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(SqliteStore::open(&folder.path().join("flexgate.db")).unwrap()), Some(folder))
}

fn user(number: u8) -> FlexUserSid {
    sid(number.into())
}

fn sid(number: u32) -> FlexUserSid {
    format!("FU{number:032x}").parse().unwrap()
}

fn entry(number: u8, name: &str) -> Entry {
    Entry {
        id: user(number),
        current: user(number),
        username: name.parse().unwrap(),
        external_id: Some(format!("x-{number}")),
        asserted: Map::from_iter([("displayName".to_owned(), json!("Ada"))]),
        deleted: false,
        version: 0,
        updated_at: NOW,
    }
}

fn group(id: &str, name: &str, members: &[u8]) -> Group {
    let member = |number: &u8| Member { user: user(*number), present: true, announced: None };
    Group {
        id: id.to_owned(),
        display_name: name.to_owned(),
        external_id: None,
        members: members.iter().map(member).collect(),
        version: 0,
        created_at: NOW,
        updated_at: NOW,
    }
}

#[tokio::test]
async fn an_entry_is_kept_and_found_by_each_of_its_keys() {
    let (store, _folder) = scim_store().await;
    let put = entry(1, "Ada");
    assert!(store.put_entry(&put, None).await.unwrap());
    let kept = Entry { version: 1, ..put };
    assert_eq!(store.entry(&user(1)).await.unwrap(), Some(kept.clone()));
    assert_eq!(store.entry_named(&"aDA".parse().unwrap()).await.unwrap(), Some(kept.clone()));
    assert_eq!(store.entries_of_external_id("x-1").await.unwrap(), std::slice::from_ref(&kept));
    assert_eq!(store.entries_of_external_id("X-1").await.unwrap(), []);
    let moved = Entry { current: user(9), ..kept };
    assert!(store.put_entry(&moved, None).await.unwrap());
    for sid in [user(1), user(9)] {
        assert_eq!(store.entries(&[sid, user(3)]).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_entry_is_written_over_the_version_it_was_read_at_alone() {
    let (store, _folder) = scim_store().await;
    let put = entry(1, "ada");
    assert!(store.put_entry(&put, None).await.unwrap());
    assert!(!store.put_entry(&put, None).await.unwrap(), "a second new one");
    let read = store.entry(&user(1)).await.unwrap().unwrap();
    assert!(store.put_entry(&read, None).await.unwrap());
    assert!(!store.put_entry(&read, None).await.unwrap(), "it has moved on");
}

#[tokio::test]
async fn a_group_is_written_with_its_members_and_its_name_is_its_own() {
    let (store, _folder) = scim_store().await;
    let put = group("a", "Agents", &[1, 2]);
    assert_eq!(store.put_group(&put).await.unwrap(), GroupWritten::Yes);
    assert_eq!(store.put_group(&group("b", "AGENTS", &[])).await.unwrap(), GroupWritten::NameTaken);
    assert_eq!(store.put_group(&put).await.unwrap(), GroupWritten::Moved);
    let read = store.group_named("agents").await.unwrap().unwrap();
    assert_eq!(read, Group { version: 1, ..put });
    assert_eq!(store.put_group(&group("b", "Leads", &[1])).await.unwrap(), GroupWritten::Yes);
    assert_eq!(store.count_groups().await.unwrap(), 2);
    let ids = |groups: Vec<Group>| groups.into_iter().map(|group| group.id).collect::<Vec<_>>();
    assert_eq!(ids(store.groups("", 0, 10).await.unwrap()), ["a", "b"]);
    assert_eq!(ids(store.groups("", 1, 10).await.unwrap()), ["b"]);
    assert_eq!(ids(store.groups("a", 0, 10).await.unwrap()), ["b"]);
    assert_eq!(store.memberships(&[user(1), user(2)]).await.unwrap().len(), 3);
    store.leave_all(&user(1)).await.unwrap();
    assert_eq!(store.memberships(&[user(1)]).await.unwrap(), []);
    let version = store.group("a").await.unwrap().unwrap().version;
    assert!(!store.remove_group("a", version - 1).await.unwrap(), "somebody has joined or left since then");
    assert_eq!(store.memberships(&[user(2)]).await.unwrap().len(), 1);
    assert!(store.remove_group("a", version).await.unwrap());
    assert_eq!(store.group("a").await.unwrap(), None);
    assert_eq!(store.memberships(&[user(2)]).await.unwrap(), []);
    assert!(!store.remove_group("a", version).await.unwrap());
}

#[tokio::test]
async fn whoever_leaves_every_group_moves_each_of_them_on() {
    let (store, _folder) = scim_store().await;
    store.put_group(&group("a", "Agents", &[1, 2])).await.unwrap();
    let before = store.group("a").await.unwrap().unwrap();
    store.leave_all(&user(1)).await.unwrap();
    assert_eq!(store.put_group(&before).await.unwrap(), GroupWritten::Moved, "it would write the member back");
    let members = store.group("a").await.unwrap().unwrap().members;
    assert_eq!(members.into_iter().map(|member| member.user).collect::<Vec<_>>(), [user(2)]);
}

/// Returns a piece of work that only one process at a time may do. Its name is the same for every process. `holder` is
/// the number of the process that wants to do the work.
fn work(holder: u128) -> Work {
    Work { name: "work".to_owned(), holder }
}

#[tokio::test]
async fn work_is_one_at_a_time_and_what_was_intended_is_remembered_until_it_is_finished() {
    let (store, _folder) = scim_store().await;
    let begin = async |holder, now| store.begin(&work(holder), now, now + Duration::seconds(10)).await.unwrap();
    assert_eq!(begin(1, NOW).await, Begun::Yes { intended: false });
    assert_eq!(begin(1, NOW).await, Begun::Yes { intended: false }, "a holder may ask again");
    assert_eq!(begin(2, NOW).await, Begun::Held(NOW + Duration::seconds(10)));
    assert_eq!(begin(2, LATER).await, Begun::Yes { intended: false }, "the first has had its time");
    assert!(store.intend(&work(2)).await.unwrap());
    store.abandon(&work(2)).await.unwrap();
    assert_eq!(begin(3, LATER).await, Begun::Yes { intended: true });
    assert!(store.put_entry(&entry(1, "ada"), Some(&work(3))).await.unwrap());
    assert_eq!(begin(4, LATER).await, Begun::Yes { intended: false }, "it was finished with the entry");
    store.finish(&work(4)).await.unwrap();
    assert_eq!(begin(5, LATER).await, Begun::Yes { intended: false });
}

#[tokio::test]
async fn whoever_was_replaced_cannot_end_the_work_of_the_next_holder() {
    let (store, _folder) = scim_store().await;
    let begin = async |holder, now| store.begin(&work(holder), now, now + Duration::seconds(10)).await.unwrap();
    assert_eq!(begin(1, NOW).await, Begun::Yes { intended: false });
    assert_eq!(begin(2, LATER).await, Begun::Yes { intended: false });
    store.finish(&work(1)).await.unwrap();
    assert_eq!(begin(3, LATER).await, Begun::Held(LATER + Duration::seconds(10)), "after finish");
    store.abandon(&work(1)).await.unwrap();
    assert_eq!(begin(3, LATER).await, Begun::Held(LATER + Duration::seconds(10)), "after abandon");
    assert!(!store.intend(&work(1)).await.unwrap());
    assert!(!store.put_entry(&entry(1, "ada"), Some(&work(1))).await.unwrap());
    assert_eq!(store.entry(&user(1)).await.unwrap(), None);
    assert_eq!(begin(3, LATER).await, Begun::Held(LATER + Duration::seconds(10)), "after an entry");
    assert!(store.put_entry(&entry(1, "ada"), Some(&work(2))).await.unwrap());
    assert_eq!(begin(3, LATER).await, Begun::Yes { intended: false });
}

#[tokio::test]
async fn a_mark_and_a_total_are_trusted_until_their_time_or_until_forgotten() {
    let (store, _folder) = scim_store().await;
    for index in [101, 201] {
        store.put_mark(&Mark { index, token: format!("PT{index}") }, LATER).await.unwrap();
    }
    store.put_total(250, LATER).await.unwrap();
    let mark = |index, now| store.mark_before(index, now);
    assert_eq!(mark(100, NOW).await.unwrap(), None);
    assert_eq!(mark(150, NOW).await.unwrap().unwrap().token, "PT101");
    assert_eq!(mark(9_999, NOW).await.unwrap().unwrap().index, 201);
    assert_eq!(mark(150, LATER).await.unwrap(), None);
    assert_eq!((store.total(NOW).await.unwrap(), store.total(LATER).await.unwrap()), (Some(250), None));
    store.forget_marks().await.unwrap();
    assert_eq!((mark(150, NOW).await.unwrap(), store.total(NOW).await.unwrap()), (None, None));
}

#[tokio::test]
async fn a_large_group_is_kept_whole_and_a_change_of_it_moves_every_reader_on() {
    let (store, _folder) = scim_store().await;
    let mut big = group("a", "Agents", &[]);
    big.members = (0..2_000_u32)
        .map(|number| Member { user: sid(number), present: number % 7 != 0, announced: Some(Role::Agent) })
        .collect();
    assert_eq!(store.put_group(&big).await.unwrap(), GroupWritten::Yes);
    let read = store.group("a").await.unwrap().unwrap();
    assert_eq!(read, Group { version: 1, ..big });
    let mut renamed = read.clone();
    renamed.display_name = "Callers".to_owned();
    renamed.members.retain(|member| member.user != sid(1_999));
    assert_eq!(store.put_group(&renamed).await.unwrap(), GroupWritten::Yes);
    assert_eq!(store.put_group(&read).await.unwrap(), GroupWritten::Moved);
    assert_eq!(store.group_named("agents").await.unwrap(), None, "the old name is free");
    assert_eq!(store.group_named("callers").await.unwrap(), Some(Group { version: 2, ..renamed }));
    let everybody: Vec<_> = (0..2_000).map(sid).collect();
    let memberships = store.memberships(&everybody).await.unwrap();
    assert_eq!(memberships.len(), 1_999);
    assert!(memberships.iter().all(|membership| membership.display_name == "Callers"));
    assert_eq!(memberships.iter().filter(|membership| !membership.present).count(), 2_000_usize.div_ceil(7));
}

#[tokio::test]
async fn of_those_who_write_a_group_at_once_each_loses_or_is_seen() {
    let (store, _folder) = scim_store().await;
    store.put_group(&group("a", "Agents", &[])).await.unwrap();
    let writers = (0..8_u32).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                let mut read = store.group("a").await.unwrap().unwrap();
                read.members.push(Member { user: sid(number), present: true, announced: None });
                read.members.sort_by(|a, b| a.user.cmp(&b.user));
                if store.put_group(&read).await.unwrap() == GroupWritten::Yes {
                    return;
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let members = store.group("a").await.unwrap().unwrap().members;
    assert_eq!(members.into_iter().map(|member| member.user).collect::<Vec<_>>(), (0..8).map(sid).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_entry_is_not_found_by_a_key_it_no_longer_has() {
    let (store, _folder) = scim_store().await;
    assert!(store.put_entry(&entry(1, "ada"), None).await.unwrap());
    let read = store.entry(&user(1)).await.unwrap().unwrap();
    let changed = Entry { username: "lovelace".parse().unwrap(), external_id: None, current: user(9), ..read };
    assert!(store.put_entry(&changed, None).await.unwrap());
    assert_eq!(store.entry_named(&"ada".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.entries_of_external_id("x-1").await.unwrap(), []);
    let kept = Entry { version: 2, ..changed };
    assert_eq!(store.entry_named(&"lovelace".parse().unwrap()).await.unwrap(), Some(kept.clone()));
    assert_eq!(store.entries(&[user(9)]).await.unwrap(), std::slice::from_ref(&kept));
    let deleted = Entry { deleted: true, current: user(1), ..kept };
    assert!(store.put_entry(&deleted, None).await.unwrap());
    assert_eq!(store.entries(&[user(9)]).await.unwrap(), []);
    assert!(store.put_entry(&entry(2, "Lovelace"), None).await.unwrap());
    assert_eq!(
        store.entry_named(&"lovelace".parse().unwrap()).await.unwrap().unwrap().id,
        user(2),
        "the one that is there"
    );
}

/// Version 0.2.0 stored names without first composing their Unicode characters.
#[tokio::test]
async fn r54_a_file_of_the_version_before_is_opened_with_its_decomposed_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flexgate.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE scim_users (id TEXT NOT NULL PRIMARY KEY, current TEXT NOT NULL, username TEXT NOT NULL,
             username_key TEXT NOT NULL, external_id TEXT, asserted TEXT NOT NULL, deleted INTEGER NOT NULL,
             version INTEGER NOT NULL, updated_at INTEGER NOT NULL) STRICT;
         CREATE TABLE scim_groups (id TEXT PRIMARY KEY, display_name TEXT NOT NULL, display_key TEXT NOT NULL UNIQUE,
             external_id TEXT, version INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL)
             STRICT, WITHOUT ROWID;
         CREATE TABLE scim_members (group_id TEXT NOT NULL, user TEXT NOT NULL, present INTEGER NOT NULL, conferred TEXT,
             PRIMARY KEY (group_id, user)) STRICT, WITHOUT ROWID;",
    )
    .unwrap();
    let (id, decomposed) = (sid(1), "jose\u{301}");
    let user = (id.as_str(), id.as_str(), decomposed, decomposed);
    old.execute("INSERT INTO scim_users VALUES (?1, ?2, ?3, ?4, NULL, '{}', 0, 1, 1764223387)", user).unwrap();
    for (group, name) in [("g1", "Caf\u{e9}"), ("g2", "Cafe\u{301}")] {
        let row = (group, name, name.to_lowercase());
        old.execute("INSERT INTO scim_groups VALUES (?1, ?2, ?3, NULL, 1, 1764223387, 1764223387)", row).unwrap();
        old.execute("INSERT INTO scim_members VALUES (?1, ?2, 1, NULL)", (group, id.as_str())).unwrap();
    }
    drop(old);

    let store = SqliteStore::open(&path).unwrap();
    for spelling in [decomposed, "Jos\u{e9}"] {
        assert_eq!(store.entry_named(&spelling.parse().unwrap()).await.unwrap().unwrap().id, id, "{spelling:?}");
    }
    // Flexgate now composes the characters of names before it compares them, so these two groups have the same name. It
    // must still be possible to remove members from either group.
    for group in ["g1", "g2"] {
        let mut group = store.group(group).await.unwrap().unwrap();
        assert_eq!(group.members.len(), 1);
        group.members.clear();
        assert_eq!(store.put_group(&group).await.unwrap(), GroupWritten::Yes);
    }
    let third = self::group("g3", "CAFE\u{301}", &[]);
    assert_eq!(store.put_group(&third).await.unwrap(), GroupWritten::NameTaken);
}
