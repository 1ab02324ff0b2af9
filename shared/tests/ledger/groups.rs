//! Tests that Flexgate's jobs give the role of a large group to each of its members.

use std::sync::Arc;

use flexgate::store::scim::{Group, Member};
use flexgate::store::{ChangedMember, Message};
use futures_util::StreamExt as _;
use serde_json::json;
use time::OffsetDateTime;

use crate::fixture::{Fixture, GROUPS, deadline};

/// Returns the number of members, and how many jobs run at once. On the DynamoDB emulator, `FLEXGATE_TEST_MEMBERS` sets
/// the number of members.
fn size() -> (usize, usize) {
    let more = std::env::var("FLEXGATE_TEST_MEMBERS").ok().and_then(|text| text.parse().ok());
    if std::env::var("FLEXGATE_TEST_AWS_ENDPOINT").is_ok() { (more.unwrap_or(100), 4) } else { (1_000, 8) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_every_member_of_a_large_group_gets_its_role_and_loses_it_with_the_group() {
    let (count, at_once) = size();
    let fixture = Arc::new(Fixture::start().await);
    fixture.world.control("users", &json!({ "count": count })).await;
    let users = fixture.provisioning.flex().list(1_000, None, deadline()).await.unwrap().users;
    assert_eq!(users.len(), count.min(1_000));
    let (id, name) = GROUPS[0];
    let mut members: Vec<Member> =
        users.iter().map(|user| Member { user: user.flex_user_sid.clone(), present: true, announced: None }).collect();
    members.sort_by(|a, b| a.user.cmp(&b.user));
    let at = OffsetDateTime::UNIX_EPOCH;
    let group = Group {
        id: id.to_owned(),
        display_name: name.to_owned(),
        external_id: None,
        members,
        version: 0,
        created_at: at,
        updated_at: at,
    };
    let scim = fixture.platform.scim();
    scim.put_group(&group).await.unwrap();
    let changed: Vec<_> = group.members.iter().map(|one| ChangedMember { user: one.user.clone(), had: None }).collect();
    for (round, roles) in [["agent", "supervisor"].as_slice(), &["agent"]].into_iter().enumerate() {
        if round == 1 {
            assert!(scim.remove_group(id, 1).await.unwrap());
        }
        let jobs = Message::fan_out(id, 1, &changed).into_iter().flat_map(|part| match part {
            Message::FanOut { members, .. } => members,
            _ => Vec::new(),
        });
        let reconciled = futures_util::stream::iter(jobs).map(|member| {
            let fixture = fixture.clone();
            async move {
                loop {
                    match fixture.ledger.reconcile_member(&member.user, None, deadline()).await {
                        // After such an error, the queue would deliver the job again. So the test tries again.
                        Err(error) if error.is_transient() => {}
                        done => break drop(done.unwrap().unwrap()),
                    }
                }
            }
        });
        reconciled.buffer_unordered(at_once).collect::<Vec<()>>().await;
        let users = fixture.provisioning.flex().list(1_000, None, deadline()).await.unwrap().users;
        let other = users.iter().filter(|user| user.roles.as_ref().is_none_or(|shown| shown.names() != roles)).count();
        assert_eq!(other, 0, "users whose roles are not {roles:?}");
    }
}
