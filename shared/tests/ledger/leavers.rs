//! Leavers who are active in Flex again without anybody having said so, and processes that stop half way.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::Statement;
use flexgate::domain::{Caller, FlexUserSid, Identity, Role, Scopes};
use flexgate::store::{PersonKey, PersonLease};
use flexgate::users::ledger::{Earlier, LedgerError, News, SweepOptions, TokenClaims};
use http::Method;
use serde_json::{Value, json};
use time::Duration;

use crate::rules::{name, news};
use crate::sweep::has_a_queue;
use crate::world::{GROUPS, World, deadline};

impl World {
    async fn switch(&self, switches: Value) {
        self.control(Method::POST, "switches", &switches).await;
    }

    /// A user who was created yesterday, and deactivated in the Console, so that no search shows them.
    async fn hidden_leaver(&self, username: &str) -> FlexUserSid {
        self.control(Method::POST, "clock", &json!({ "offset_seconds": -86_400 })).await;
        self.at_twilio(username, &["supervisor"]).await;
        self.control(Method::POST, "clock", &json!({ "offset_seconds": 0 })).await;
        let sid = self.flex(&name(username)).await.unwrap().flex_user_sid;
        self.provisioning.flex().deprovision(&sid, deadline()).await.unwrap();
        self.switch(json!({ "find_returns_deactivated": false })).await;
        sid
    }

    /// A mint by somebody of the leaver's name, of which Twilio's answer is lost.
    async fn lost_mint(&self, username: &str) {
        let caller = Caller {
            identity: Identity { issuer: self.simulator.issuer().into(), subject: "newcomer".into() },
            scopes: Scopes::default(),
            username: Some(name(username)),
            verified_email: Some("new@example.com".parse().unwrap()),
            full_name: Some("Ada the Second".parse().unwrap()),
            roles: [Role::Agent].into(),
            issued_at: Some(SystemClock.now()),
            expires_at: SystemClock.now() + Duration::HOUR,
        };
        let claims = TokenClaims::of(&caller, &name(username), &caller.roles, &self.platform.clock_rng);
        self.fault(json!({ "path_contains": "Provision", "kind": "lost_response", "times": 0 })).await;
        let admitted = self.ledger.admit(&claims, None, SystemClock.now(), deadline()).await;
        assert!(matches!(admitted, Err(LedgerError::Twilio(_))), "{admitted:?}");
        self.no_faults().await;
    }

    /// Makes Twilio answer every GET request whose path contains `path` with this body.
    async fn answers_with(&self, path: &str, body: Value) {
        let fault = json!({
            "service": "flex-api", "method": "GET", "path_contains": path, "kind": "status", "status": 200, "times": 0,
            "body": body,
        });
        self.control(Method::POST, "faults", &fault).await;
    }

    async fn is_active_under(&self, sid: &FlexUserSid) -> bool {
        self.provisioning.flex().get(sid, deadline()).await.unwrap().is_active()
    }
}

#[tokio::test]
async fn the_sweep_gives_back_a_leaver_whom_a_mint_without_an_answer_brought_back() {
    for is_member in [false, true] {
        let world = World::start().await;
        if !has_a_queue(&world) {
            return;
        }
        let sid = world.hidden_leaver("ada").await;
        if is_member {
            world.write_member(GROUPS[0], &sid, true).await;
        }
        world.lost_mint("ada").await;
        assert!(world.is_active_under(&sid).await);
        for _ in 0..2 {
            world.sweep(None).await.unwrap();
            world.work().await;
        }
        assert!(!world.is_active_under(&sid).await, "member: {is_member}");
        let swept = world.sweep(None).await.unwrap();
        assert_eq!((swept.drifted, swept.queued, swept.orphans.len()), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_job_gives_back_a_leaver_whom_a_mint_without_an_answer_brought_back() {
    let world = World::start().await;
    let sid = world.hidden_leaver("ada").await;
    world.lost_mint("ada").await;
    world.ledger.reconcile_member(&sid, None, deadline()).await.unwrap();
    assert!(!world.is_active_under(&sid).await);
    // What the newcomer's token said is withdrawn: whoever reactivates the leaver must not give it to them.
    let person = world.platform.people().person(&PersonKey::FlexUser(sid)).await.unwrap().unwrap();
    assert!(person.statements.values().all(Statement::is_silent), "{:?}", person.statements);
}

#[tokio::test]
async fn whoever_is_inactive_is_deactivated_even_if_nobody_can_tell_whose_the_user_is() {
    let world = World::start().await;
    let sid = world.hidden_leaver("ada").await;
    world.lost_mint("ada").await;
    world.fault(json!({ "path_contains": "Deprovision", "kind": "status", "status": 503, "times": 0 })).await;
    world.state(&news("operator", "ada", Some(false), &[])).await.unwrap_err();
    world.no_faults().await;
    // Twilio does not say when the user was created.
    let mut answer = shown(&sid, "ada");
    answer["users"] = json!([answer]);
    world.answers_with("/v4/", answer).await;
    world.ledger.reconcile_member(&sid, None, deadline()).await.unwrap();
    world.no_faults().await;
    assert!(!world.is_active_under(&sid).await);
}

#[tokio::test]
async fn a_user_whom_a_mint_without_an_answer_created_stays() {
    let world = World::start().await;
    world.lost_mint("ada").await;
    let sid = world.flex(&name("ada")).await.unwrap().flex_user_sid;
    world.ledger.reconcile_member(&sid, None, deadline()).await.unwrap();
    assert!(world.is_active_under(&sid).await);
    let person = world.platform.people().person(&PersonKey::FlexUser(sid)).await.unwrap().unwrap();
    assert_eq!(person.given.asked_since, None);
}

/// An active user as Twilio may show it, without any date.
fn shown(sid: &FlexUserSid, username: &str) -> Value {
    json!({
        "flex_user_sid": sid, "username": username, "email": "new@example.com", "full_name": "Ada Lovelace",
        "roles": ["agent"], "deactivated": false, "worker_sid": format!("WK{}", "0".repeat(32)),
    })
}

/// Deactivates `username` by a statement, and brings them back in Flex under another SID. Returns the new SID.
async fn back_under_a_new_sid(world: &World, username: &str) -> FlexUserSid {
    world.state(&news("api", username, Some(true), &["agent"])).await.unwrap();
    world.state(&news("api", username, Some(false), &[])).await.unwrap();
    world.switch(json!({ "provision_reactivates": "new_sid" })).await;
    world.at_twilio(username, &["supervisor"]).await;
    let sid = world.flex(&name(username)).await.unwrap().flex_user_sid;
    assert!(world.is_active_under(&sid).await);
    sid
}

#[tokio::test]
async fn a_leaver_who_comes_back_under_a_new_sid_is_deactivated_by_the_sweep() {
    let world = World::start().await;
    if !has_a_queue(&world) {
        return;
    }
    world.at_twilio("stranger", &["agent"]).await;
    let sid = back_under_a_new_sid(&world, "ada@example.com").await;
    let swept = world.sweep(None).await.unwrap();
    assert_eq!((swept.inactive_but_active, swept.orphans.len(), swept.queued), (1, 1, 1));
    assert_eq!((world.work().await, world.is_active_under(&sid).await), (1, false));
    assert_eq!(world.sweep(None).await.unwrap().drifted, 0);
}

#[tokio::test]
async fn the_user_whom_somebody_left_behind_under_the_old_sid_is_not_judged() {
    let world = World::start().await;
    back_under_a_new_sid(&world, "ada@example.com").await;
    world.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let new = world.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    world.provisioning.flex().deprovision(&new, deadline()).await.unwrap();
    // Only the new user differs from what the source says.
    let swept = world.ledger.sweep(SweepOptions::default(), deadline, |_| {}).await.unwrap();
    assert_eq!((swept.users, swept.drifted), (2, 1));
}

#[tokio::test]
async fn a_leaver_who_comes_back_under_a_new_sid_is_deactivated_by_the_next_statement() {
    let world = World::start().await;
    let sid = back_under_a_new_sid(&world, "ada@example.com").await;
    world.state(&news("api", "ada@example.com", Some(false), &["agent"])).await.unwrap();
    assert!(!world.is_active_under(&sid).await);
}

#[tokio::test]
async fn two_users_of_the_name_keep_no_leaver_active() {
    let world = World::start().await;
    let sid = back_under_a_new_sid(&world, "ada@example.com").await;
    world.switch(json!({ "find_returns_two": true })).await;
    // Which of them is hers nobody can tell, so nobody gets access by it.
    let back = world.state(&news("api", "ada@example.com", Some(true), &["agent"])).await;
    assert!(matches!(back, Err(LedgerError::Twilio(_))), "{back:?}");
    world.state(&news("api", "ada@example.com", Some(false), &["agent"])).await.unwrap();
    assert!(!world.is_active_under(&sid).await);
}

#[tokio::test]
async fn among_users_of_similar_names_only_the_active_one_of_the_same_spelling_is_deactivated() {
    let world = World::start().await;
    let sid = back_under_a_new_sid(&world, "ada@example.com").await;
    let key = PersonKey::Username(name("ada@example.com").key());
    let recorded = world.platform.people().person(&key).await.unwrap().unwrap().flex_user_sid.unwrap();
    assert_ne!(recorded, sid);
    let mut left = shown(&recorded, "ada@example.com");
    left["deactivated"] = json!(true);
    let another: FlexUserSid = format!("FU{}", "7".repeat(32)).parse().unwrap();
    let somebody_else = shown(&another, "Ada@example.com");
    let hers = shown(&sid, "ada@example.com");
    // The first answer is for a user, and the second one for the search.
    world.answers_with(recorded.as_str(), left.clone()).await;
    world.answers_with("/v4/", json!({ "users": [left, somebody_else, hers] })).await;
    world.state(&news("api", "ada@example.com", Some(false), &["agent"])).await.unwrap();
    world.no_faults().await;
    assert!(!world.is_active_under(&sid).await);
}

#[tokio::test]
async fn whoever_comes_back_under_a_new_sid_stays_in_their_groups_though_the_entry_is_written_meanwhile() {
    let world = World::start().await;
    let Some(file) = world.sqlite_file() else { return };
    world.switch(json!({ "provision_reactivates": "new_sid" })).await;
    world.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let old = world.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    world.member(GROUPS[0], &old, true).await;
    world.state(&news("api", "ada@example.com", Some(false), &["agent"])).await.unwrap();
    // Every write of an entry loses a race.
    let db = rusqlite::Connection::open(file).unwrap();
    db.execute_batch("CREATE TRIGGER lost BEFORE INSERT ON scim_users BEGIN SELECT RAISE(IGNORE); END;").unwrap();
    let back = news("api", "ada@example.com", Some(true), &["agent"]);
    assert!(matches!(world.ledger.state(&back, deadline()).await, Err(LedgerError::Busy)));
    db.execute_batch("DROP TRIGGER lost;").unwrap();
    world.state(&back).await.unwrap();
    world.ledger.reconcile_member(&old, None, deadline()).await.unwrap();
    assert_eq!(world.roles_of("ada@example.com").await, ["agent", "supervisor"]);
}

#[tokio::test]
async fn whoever_comes_back_under_a_new_sid_stays_in_their_groups() {
    let world = World::start().await;
    world.switch(json!({ "provision_reactivates": "new_sid" })).await;
    world.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let old = world.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    world.member(GROUPS[0], &old, true).await;
    for active in [false, true] {
        world.state(&news("api", "ada@example.com", Some(active), &["agent"])).await.unwrap();
    }
    let new = world.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    assert_ne!(old, new);
    world.ledger.reconcile_member(&old, None, deadline()).await.unwrap();
    assert_eq!(world.roles_of("ada@example.com").await, ["agent", "supervisor"]);
    // And leave them when the group says so.
    world.member(GROUPS[0], &old, false).await;
    assert_eq!(world.roles_of("ada@example.com").await, ["agent"]);
}

#[tokio::test]
async fn a_second_user_of_the_name_is_an_orphan_and_stays_as_it_is() {
    let world = World::start().await;
    if !has_a_queue(&world) {
        return;
    }
    world.state(&news("api", "grace@example.com", Some(true), &["agent"])).await.unwrap();
    world.at_twilio("Grace@example.com", &["supervisor"]).await;
    let queue = world.platform.queue();
    for orphans_after in [None, Some(Duration::DAY)] {
        let options = SweepOptions { queue: Some(queue.as_ref()), orphans_after, ..SweepOptions::default() };
        let swept = world.ledger.sweep(options, deadline, |_| {}).await.unwrap();
        assert_eq!((swept.drifted, swept.orphans.len(), swept.queued), (0, 1, 0));
    }
    assert_eq!(world.roles_of("Grace@example.com").await, ["supervisor"]);
    assert_eq!(world.roles_of("grace@example.com").await, ["agent"]);
}

#[tokio::test]
async fn of_two_active_users_of_one_spelling_only_the_recorded_one_is_the_persons() {
    let world = World::start().await;
    world.state(&news("api", "ada@example.com", Some(true), &["supervisor"])).await.unwrap();
    let hers = world.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    let other: FlexUserSid = format!("FU{}", "7".repeat(32)).parse().unwrap();
    let mut hers = shown(&hers, "ada@example.com");
    hers["roles"] = json!(["supervisor"]);
    hers["email"] = json!("ada@example.com");
    world.answers_with("/v1/", json!({ "users": [shown(&other, "ada@example.com"), hers], "meta": {} })).await;
    let swept = world.ledger.sweep(SweepOptions::default(), deadline, |_| {}).await.unwrap();
    assert_eq!((swept.users, swept.drifted, swept.orphans), (2, 0, vec![other]));
}

#[tokio::test]
async fn a_leaver_whose_name_somebody_else_has_in_another_spelling_ends_nobody_elses_access() {
    let world = World::start().await;
    if !has_a_queue(&world) {
        return;
    }
    world.switch(json!({ "find_case_sensitive": false, "find_returns_deactivated": false })).await;
    world.state(&news("api", "grace@example.com", Some(true), &["agent"])).await.unwrap();
    world.state(&news("api", "grace@example.com", Some(false), &[])).await.unwrap();
    world.at_twilio("Grace@example.com", &["supervisor"]).await;
    let swept = world.sweep(None).await.unwrap();
    assert_eq!((swept.drifted, swept.orphans.len(), swept.queued), (0, 1, 0));
    world.state(&news("api", "grace@example.com", Some(false), &["agent"])).await.unwrap();
    assert!(world.is_active("Grace@example.com").await);
}

/// Polls `work` at most `polls` times, then drops it: a process that stops there.
struct UpTo<F> {
    work: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Future for UpTo<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.polls.checked_sub(1) else { return Poll::Ready(None) };
        self.polls = left;
        match self.work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[tokio::test]
async fn wherever_a_process_stops_the_roles_that_a_statement_ends_are_taken_away() {
    let world = World::start().await;
    let mut unfinished = 0;
    for polls in 1.. {
        let who = format!("ada{polls}");
        world.at_twilio(&who, &["supervisor"]).await;
        world.state(&news("api", &who, Some(true), &["agent"])).await.unwrap();
        assert_eq!(world.roles_of(&who).await, ["agent", "supervisor"]);
        let hr = News {
            earlier: Earlier::AllBut([Role::Supervisor].into()),
            ..news("webhook:hr", &who, Some(true), &["agent"])
        };
        let work = Box::pin(world.ledger.state(&hr, deadline()));
        let done = pin!(UpTo { work, polls }).await;

        let people = world.platform.people();
        let person = people.person(&PersonKey::Username(name(&who).key())).await.unwrap().unwrap();
        // The lease of the process that stopped ends.
        let (later, other) = (SystemClock.now() + Duration::DAY, 5);
        let leased = people.lease(person.id, other, later, later + Duration::SECOND).await.unwrap();
        assert!(matches!(leased, PersonLease::Granted { .. }));
        people.release(person.id, other, None).await.unwrap();

        world.ledger.reconcile(person.id, deadline()).await.unwrap();
        // Read afterwards: the write may have been under way when the process stopped.
        let person = people.person(&PersonKey::Id(person.id)).await.unwrap().unwrap();
        let is_stated = person.statements.contains_key(&hr.source);
        let expected: &[&str] = if is_stated { &["agent"] } else { &["agent", "supervisor"] };
        assert_eq!(world.roles_of(&who).await, expected, "after {polls} polls");
        unfinished += usize::from(is_stated && done.is_none());
        if done.is_some() {
            break;
        }
    }
    assert!(unfinished > 0, "no process stopped after the statement");
}
