//! Tests long lists, and counts the requests to Twilio.

use serde_json::json;

use crate::common::{Refused as _, scim};
use crate::many::{walk, world_of};

#[tokio::test]
async fn walking_twice_as_many_users_by_index_costs_twice_as_much() {
    // `cargo bench -p flexgate-provision` compares longer lists in the same way, and also measures the time.
    for fresh_instances in [false, true] {
        let (once, _) = walk(&mut world_of(3_000).await, 100, 3_000, fresh_instances).await;
        let (twice, _) = walk(&mut world_of(6_000).await, 100, 6_000, fresh_instances).await;
        assert!(10 * twice <= 22 * once, "{once} calls for 3,000 users, {twice} for 6,000");
        assert!(once <= 3_000 / 100 + 5, "{once} calls for 30 pages");
    }
}

#[tokio::test]
async fn a_page_in_the_middle_is_reached_with_the_largest_pages() {
    let scim = world_of(3_000).await;
    let list = scim.get("/Users?startIndex=2501&count=10").await.is(200);
    assert_eq!(list["Resources"][0]["userName"], "user002500");
    assert!(scim.calls().await.len() <= 6, "{:?}", scim.calls().await);
    scim.world.forget_calls().await;
    scim.get("/Users?startIndex=2511&count=10").await.is(200);
    assert_eq!(scim.calls().await.len(), 1);
}

#[tokio::test]
async fn walking_by_cursor_sees_everybody_once_and_costs_a_call_a_page() {
    let scim = world_of(950).await;
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let list = scim.get(&format!("/Users?cursor={cursor}&count=100")).await.is(200);
        seen.extend(list["Resources"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        match list["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(scim.calls().await.len(), 10);
    assert_eq!(seen.len(), 950);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 950);
    scim.get("/Users?cursor=nonsense").await.refused(400, "invalidCursor");
    scim.get(&format!("/Users?cursor={cursor}&startIndex=1")).await.refused(400, "invalidValue");
    // Flexgate reads as many of Twilio's pages as it needs to fill one page with matches.
    let filter = "userName%20ew%20%2200%22";
    let list = scim.get(&format!("/Users?cursor=&count=5&filter={filter}")).await.is(200);
    assert_eq!(list["Resources"].as_array().unwrap().len(), 5);
    let next = list["nextCursor"].as_str().unwrap();
    let list = scim.get(&format!("/Users?cursor={next}&count=100&filter={filter}")).await.is(200);
    assert_eq!((list["Resources"].as_array().unwrap().len(), list.get("nextCursor")), (5, None));
}

#[tokio::test]
async fn looking_up_a_user_costs_one_call() {
    let scim = scim().await;
    let id = scim.user("Ada").await;
    scim.world.at_twilio("grace", &["agent"]).await;
    let queries = [
        "/Users?filter=userName%20eq%20%22ada%22".to_owned(),
        "/Users?filter=userName%20eq%20%22grace%22&startIndex=1&count=100".to_owned(),
        "/Users?filter=userName%20eq%20%22nobody%22".to_owned(),
        "/Users?filter=userName%20eq%20%22Ada%22%20and%20active%20eq%20true".to_owned(),
        format!("/Users?filter=id%20eq%20%22{id}%22"),
        format!("/Users/{id}"),
    ];
    for query in queries {
        scim.world.forget_calls().await;
        scim.get(&query).await.is(200);
        assert_eq!(scim.calls().await.len(), 1, "{query}: {:?}", scim.calls().await);
    }
}

#[tokio::test]
async fn a_filter_is_answered_by_reading_everything_where_no_key_helps() {
    let scim = scim().await;
    for name in ["ada", "grace", "linus"] {
        scim.user(name).await;
    }
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    let linus = scim.get("/Users?filter=userName%20eq%20%22linus%22").await.is(200);
    scim.patch(&format!("/Users/{}", linus["Resources"][0]["id"].as_str().unwrap()), off).await.is(200);
    for (filter, count) in [
        ("active eq true", 2),
        ("emails[value ew \"@example.com\" and primary eq \"True\"]", 3),
        ("emails.value co \"GRACE\"", 1),
        ("not (userName sw \"a\")", 2),
        ("userName eq \"ada\" or displayName eq \"the grace\"", 2),
        ("meta.lastModified gt \"2020-01-01T00:00:00Z\"", 3),
        ("title pr", 0),
        ("urn:ietf:params:scim:schemas:core:2.0:User:userName eq \"ADA\"", 1),
    ] {
        let list = scim.send("POST", "/Users/.search", json!({ "filter": filter })).await.is(200);
        assert_eq!(list["totalResults"], count, "{filter}");
    }
}
