//! Tests the sweep, which compares all Flex users with the ledger: which differences it finds, which repairs it queues,
//! and when it changes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::base::outbound::Deadline;
use flexgate::domain::ledger::{Said, Statement};
use flexgate::domain::{EventId, FlexUserSid, Username};
use flexgate::store::{Lane, Message, Settled};
use flexgate::users::ledger::{Earlier, News, Outcome, SweepError, SweepOptions, Swept};
use flexgate_simulator::SparseResponses;
use serde_json::json;
use time::Duration;

use crate::fixture::{Fixture, GROUPS, deadline};

async fn says(fixture: &Fixture, username: &str, active: bool, roles: &[&str]) {
    let (at, id) = (SystemClock.now(), EventId::from(3));
    let news = News {
        source: "api".parse().unwrap(),
        subject: None,
        identity: None,
        username: Some(username.parse().unwrap()),
        flex_user_sid: None,
        statement: Statement {
            active: Some(Said::access(at, &id, active)),
            roles: Some(Said::new(at, &id, roles.iter().map(|&role| role.into()).collect())),
            full_name: Some(Said::new(at, &id, Some("Some One".parse().unwrap()))),
            email: Some(Said::new(at, &id, Some("some@example.com".parse().unwrap()))),
            ..Statement::default()
        },
        earlier: Earlier::Everything,
    };
    fixture.state(&news).await.unwrap();
}

impl Fixture {
    pub async fn sweep(&self, limit: Option<usize>) -> Result<Swept, SweepError> {
        let queue = self.platform.queue();
        let options = SweepOptions { queue: Some(queue.as_ref()), limit, ..SweepOptions::default() };
        self.ledger.sweep(options, deadline, |_| {}).await
    }

    async fn dry_run(&self) -> Swept {
        self.ledger.sweep(SweepOptions::default(), deadline, |_| {}).await.unwrap()
    }

    /// Runs the queued jobs like the function `apply`, and returns their number. Needs a store with its own queue.
    pub async fn work(&self) -> usize {
        let Some(inbox) = self.platform.inbox() else { return 0 };
        let (mut done, now) = (0, SystemClock.now());
        loop {
            let taken = inbox.take(Lane::Bulk, 8, now, now + Duration::MINUTE).await.unwrap();
            if taken.is_empty() {
                return done;
            }
            for message in taken {
                let Ok(Message::Reconcile { user, .. }) = serde_json::from_str(&message.body) else {
                    unreachable!("{}", message.body)
                };
                self.ledger.reconcile_member(&user, None, deadline()).await.unwrap();
                inbox.settle(&message, Settled::Applied, now).await.unwrap();
                done += 1;
            }
        }
    }

    async fn sid(&self, name: &str) -> FlexUserSid {
        self.flex(&name.parse::<Username>().unwrap()).await.unwrap().flex_user_sid
    }
}

/// Whether the store has its own queue. On AWS, the store has none, because SQS delivers the messages.
pub fn has_a_queue(fixture: &Fixture) -> bool {
    fixture.platform.inbox().is_some()
}

#[tokio::test]
async fn drift_is_repaired_by_jobs_and_whoever_nobody_speaks_of_is_left_alone() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    says(&fixture, "ada", true, &["supervisor"]).await;
    says(&fixture, "ada", true, &["agent"]).await;
    says(&fixture, "leaver", true, &["agent"]).await;
    says(&fixture, "leaver", false, &["agent"]).await;
    says(&fixture, "grace", true, &["agent"]).await;
    // Three differences at Twilio: Ada has a role again that was removed, a person who has left is active again (as
    // happens with Twilio's SSO), and there is a user whom Flexgate does not know.
    for (name, roles) in [("ada", &["agent", "supervisor"][..]), ("leaver", &["agent"]), ("stranger", &["supervisor"])]
    {
        fixture.at_twilio(name, roles).await;
    }
    let found = fixture.dry_run().await;
    let expected = Swept {
        users: 4,
        active: 4,
        orphans: vec![fixture.sid("stranger").await],
        drifted: 2,
        losing_access: 2,
        inactive_but_active: 1,
        ..Swept::default()
    };
    assert_eq!(found, expected);
    assert_eq!(fixture.work().await, 0, "a dry run queues nothing");
    assert_eq!(fixture.platform.usernames().last_walk().await.unwrap(), None);

    assert_eq!(fixture.sweep(None).await.unwrap(), Swept { queued: 2, ..expected.clone() });
    assert_eq!(fixture.work().await, 2);
    assert_eq!((fixture.roles_of("ada").await, fixture.is_active("leaver").await), (vec!["agent".to_owned()], false));
    assert_eq!(fixture.roles_of("stranger").await, ["supervisor"]);
    let after = fixture.sweep(None).await.unwrap();
    assert_eq!((after.drifted, after.queued), (0, 0));
}

#[tokio::test]
async fn the_index_knows_every_username_after_a_whole_walk_and_nothing_is_concluded_from_part_of_one() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    fixture.world.control("users", &json!({ "count": 1_500, "prefix": "U" })).await;
    says(&fixture, "leaver", true, &["agent"]).await;
    says(&fixture, "leaver", false, &["agent"]).await;
    fixture.at_twilio("leaver", &["agent"]).await;
    // The deadline leaves no time to read the second page.
    let (calls, queue) = (AtomicUsize::new(0), fixture.platform.queue());
    let first = || calls.fetch_add(1, Ordering::Relaxed) == 0;
    let each_call = || if first() { deadline() } else { Deadline::after(std::time::Duration::ZERO) };
    let options = SweepOptions { queue: Some(queue.as_ref()), ..SweepOptions::default() };
    let broken = fixture.ledger.sweep(options, each_call, |_| {}).await;
    assert!(matches!(broken, Err(SweepError::Ledger(_))));
    let index = fixture.platform.usernames();
    assert_eq!((index.last_walk().await.unwrap(), fixture.work().await), (None, 0));

    let swept = fixture.sweep(None).await.unwrap();
    assert_eq!((swept.users, swept.orphans.len(), swept.queued), (1_501, 1_500, 1));
    let key = "u001499".parse::<Username>().unwrap().key();
    assert_eq!(index.seen(&key).await.unwrap()[0].username.as_str(), "U001499");
    assert!(index.last_walk().await.unwrap().is_some());
}

#[tokio::test]
async fn a_sweep_that_would_take_access_from_many_stops() {
    let fixture = Fixture::start().await;
    for number in 0..25 {
        let name = format!("user{number}");
        says(&fixture, &name, true, &["agent"]).await;
        says(&fixture, &name, false, &["agent"]).await;
        fixture.at_twilio(&name, &["agent"]).await;
    }
    let stopped = fixture.sweep(None).await;
    assert!(matches!(stopped, Err(SweepError::TooMany { losing_access: 25, users: 25 })), "{stopped:?}");
    assert_eq!(fixture.work().await, 0);
    if has_a_queue(&fixture) {
        assert_eq!(fixture.sweep(Some(25)).await.unwrap().queued, 25);
        assert_eq!(fixture.work().await, 25);
        assert!(!fixture.is_active("user7").await);
    }
}

#[tokio::test]
async fn a_membership_that_was_never_announced_is_found() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    fixture.at_twilio("ada", &["agent"]).await;
    let sid = fixture.flex(&"ada".parse().unwrap()).await.unwrap().flex_user_sid;
    // The process died after it wrote the group and before it queued the jobs for the members.
    fixture.write_member(GROUPS[0], &sid, true).await;
    assert_eq!(fixture.sweep(None).await.unwrap().queued, 1);
    fixture.work().await;
    assert_eq!(fixture.roles_of("ada").await, ["agent", "supervisor"]);
}

#[tokio::test]
async fn what_a_list_leaves_out_is_no_drift_and_a_list_without_anybody_makes_nothing_forgotten() {
    let fixture = Fixture::start().await;
    let empty = fixture.sweep(None).await.unwrap();
    assert_eq!((empty, fixture.platform.usernames().last_walk().await.unwrap()), (Swept::default(), None));
    says(&fixture, "ada", true, &["supervisor"]).await;
    fixture.world.simulator.switch(|switches| switches.sparse_responses = SparseResponses::Sparse);
    let swept = fixture.sweep(None).await.unwrap();
    assert_eq!((swept.users, swept.drifted, swept.queued), (1, 0, 0));
}

#[tokio::test]
async fn what_comes_back_after_two_repairs_is_reported_and_a_leaver_is_deactivated_each_time() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    for name in ["ada", "leaver"] {
        says(&fixture, name, true, &["agent"]).await;
    }
    says(&fixture, "leaver", false, &["agent"]).await;
    let ada = fixture.sid("ada").await;
    // In each round, another system changes the name, as Twilio's SSO does at every login.
    for round in 1..=4 {
        for name in ["ada", "leaver"] {
            fixture.named_at_twilio(name, "Some Other").await;
        }
        let swept = fixture.sweep(None).await.unwrap();
        let contested = if round > 2 { vec![ada.clone()] } else { vec![] };
        assert_eq!((swept.drifted, &swept.contested), (2, &contested), "round {round}");
        assert_eq!((swept.inactive_but_active, swept.queued), (1, if round > 2 { 1 } else { 2 }), "round {round}");
        fixture.work().await;
        assert!(!fixture.is_active("leaver").await, "round {round}");
        let name = fixture.flex(&"ada".parse().unwrap()).await.unwrap().full_name;
        assert_eq!(name.as_deref(), Some(if round > 2 { "Some Other" } else { "Some One" }), "round {round}");
    }
    // Other jobs do not repair the name either, until a source makes a new statement about the person.
    let report = fixture.ledger.reconcile_member(&ada, None, deadline()).await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Contested);
    says(&fixture, "ada", true, &["agent", "supervisor"]).await;
    let name = fixture.flex(&"ada".parse().unwrap()).await.unwrap().full_name;
    assert_eq!(name.as_deref(), Some("Some One"));
    fixture.named_at_twilio("ada", "Some Other").await;
    assert_eq!(fixture.sweep(None).await.unwrap().contested, []);
}

#[tokio::test]
async fn orphans_are_deactivated_only_where_that_is_configured() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    for (name, roles) in [("stranger", "agent"), ("chief", "admin")] {
        fixture.at_twilio(name, &[roles]).await;
    }
    says(&fixture, "ada", true, &["agent"]).await;
    let queue = fixture.platform.queue();
    let of = |queue, days| SweepOptions { queue, orphans_after: Some(Duration::days(days)), ..SweepOptions::default() };
    let sweep = async |options| fixture.ledger.sweep(options, deadline, |_| {}).await.unwrap();
    // At first, no orphan (a user about whom no source has said anything) is old enough to be deactivated.
    let swept = sweep(of(Some(queue.as_ref()), 1)).await;
    assert_eq!((swept.orphans.len(), swept.orphans_due, swept.queued), (2, 0, 0));
    // A dry run writes nothing.
    let swept = sweep(of(None, 0)).await;
    assert_eq!((swept.orphans.len(), swept.orphans_due, fixture.work().await), (2, 1, 0));
    let too_many = SweepOptions { limit: Some(0), ..of(Some(queue.as_ref()), 0) };
    let stopped = fixture.ledger.sweep(too_many, deadline, |_| {}).await;
    assert!(matches!(stopped, Err(SweepError::TooMany { losing_access: 1, .. })), "{stopped:?}");
    assert_eq!(fixture.work().await, 0);
    let swept = sweep(of(Some(queue.as_ref()), 0)).await;
    assert_eq!((swept.orphans_due, swept.queued, fixture.work().await), (1, 1, 1));
    for (name, active) in [("stranger", false), ("chief", true), ("ada", true)] {
        assert_eq!(fixture.is_active(name).await, active, "{name}");
    }
    assert_eq!(sweep(of(Some(queue.as_ref()), 0)).await.orphans_due, 0);
}

#[tokio::test]
async fn a_seat_is_idle_if_its_worker_has_not_changed_its_activity_for_long() {
    let fixture = Fixture::start().await;
    fixture.world.control("users", &json!({ "count": 1_200, "prefix": "U" })).await;
    for name in ["ada", "leaver"] {
        says(&fixture, name, true, &["agent"]).await;
    }
    says(&fixture, "leaver", false, &["agent"]).await;
    let idle = async |after| {
        let options = SweepOptions { idle_after: Some(after), ..SweepOptions::default() };
        fixture.ledger.sweep(options, deadline, |_| {}).await.unwrap().idle
    };
    assert_eq!(idle(Duration::HOUR).await, []);
    // With an idle time of zero, all active users with a worker are idle, on both pages.
    let all = idle(Duration::ZERO).await;
    let (ada, leaver) = (fixture.sid("ada").await, fixture.sid("leaver").await);
    assert!(all.len() >= 1_201 && all.contains(&ada) && !all.contains(&leaver), "{}", all.len());
    // The sweep asks TaskRouter only when it looks for idle users, so a failure of TaskRouter has no effect here.
    let twilio = json!({ "service": "taskrouter", "kind": "status", "status": 500, "times": 0 });
    fixture.world.control("faults", &twilio).await;
    assert_eq!(fixture.dry_run().await.idle, []);
    // Leavers are deactivated even if TaskRouter fails.
    fixture.at_twilio("leaver", &["agent"]).await;
    let queue = fixture.platform.queue();
    // On AWS, the store has no queue of its own, because SQS delivers the messages.
    let queue = Some(queue.as_ref()).filter(|_| has_a_queue(&fixture));
    let options = SweepOptions { queue, idle_after: Some(Duration::ZERO), ..SweepOptions::default() };
    assert!(matches!(fixture.ledger.sweep(options, deadline, |_| {}).await, Err(SweepError::Idle(_))));
    if has_a_queue(&fixture) {
        assert_eq!((fixture.work().await, fixture.is_active("leaver").await), (1, false));
    }
}
