//! Tests that all people can be read page by page, in the order of their ids.

use flexgate::domain::ledger::{Person, PersonId};

use super::{person, store};

/// Returns fifty ids, some close together and some far apart, including the smallest and the largest possible id.
fn ids() -> Vec<PersonId> {
    let dense = (0..20_u8).map(|number| [0x3f, number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let sparse = (0..28_u8).map(|number| [number.wrapping_mul(41).wrapping_add(7); 16]);
    let mut ids: Vec<_> = dense.chain(sparse).chain([[0; 16], [0xff; 16]]).map(PersonId::of).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_walk_in_pages_of_any_size_meets_everybody_once_in_the_order_of_ids() {
    let store = store().await;
    let ids = ids();
    assert_eq!(ids.len(), 50);
    let mut everybody = Vec::new();
    for (number, id) in (0..).zip(&ids) {
        let person = Person { id: *id, ..person(number, &format!("agent-{number}")) };
        everybody.push(Person { version: 1, ..store.add(&person).await });
    }
    for limit in [1, 7, 20, 49, 50, 100] {
        let (mut met, mut after) = (Vec::new(), None);
        loop {
            let page = store.other.page(after, limit).await.unwrap();
            assert!(page.len() <= limit as usize, "{} of {limit}", page.len());
            let Some(last) = page.last() else { break };
            assert!(Some(last.id) > after, "the walk goes on");
            after = Some(last.id);
            met.extend(page);
        }
        assert_eq!(met, everybody, "in pages of {limit}");
    }
    // A page begins after the given id, even if no person has this id.
    let nobody = PersonId::of([0x3f, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    let page = store.other.page(Some(nobody), 3).await.unwrap();
    let expected: Vec<_> = everybody.iter().filter(|person| person.id > nobody).take(3).cloned().collect();
    assert_eq!(page, expected);
    assert_eq!(store.other.page(None, 0).await.unwrap(), []);
}

#[tokio::test]
async fn nobody_is_listed_where_nobody_is_known() {
    let store = store().await;
    assert_eq!(store.one.page(None, 10).await.unwrap(), []);
}
