//! Tests people who have left the company but are active in Flex again, although no source has reported them as active.
//! Also tests processes that stop before they have finished.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::Statement;
use flexgate::domain::{Caller, FlexUserSid, Identity, IssuerLimits, Role, Scopes, Unused};
use flexgate::store::{PersonKey, PersonLease};
use flexgate::users::ledger::{Earlier, LedgerError, News, SweepOptions, TokenClaims};
use serde_json::{Value, json};
use time::Duration;

use crate::fixture::{Fixture, GROUPS, deadline};
use crate::rules::{name, news};
use crate::sweep::has_a_queue;

impl Fixture {
    /// Creates the Flex user of somebody who has left. The user was created yesterday, and was later deactivated in the
    /// Console. Twilio's search does not find this user.
    async fn hidden_leaver(&self, username: &str) -> FlexUserSid {
        self.world.shift_simulator(-86_400).await;
        self.at_twilio(username, &["supervisor"]).await;
        self.world.shift_simulator(0).await;
        let sid = self.flex(&name(username)).await.unwrap().flex_user_sid;
        self.provisioning.flex().deprovision(&sid, deadline()).await.unwrap();
        self.world.switch(&json!({ "find_returns_deactivated": false })).await;
        sid
    }

    /// Simulates a mint by a new person with the username of the person who left. Twilio's answer to the provisioning
    /// request is lost.
    async fn lost_mint(&self, username: &str) {
        let caller = Caller {
            identity: Identity { issuer: self.world.simulator.issuer().into(), subject: "newcomer".into() },
            scopes: Scopes::default(),
            username: Some(name(username)),
            verified_email: Some("new@example.com".parse().unwrap()),
            full_name: Some("Ada the Second".parse().unwrap()),
            roles: [Role::Agent].into(),
            acts: None,
            unused: Unused::default(),
            limits: IssuerLimits::default(),
            issued_at: Some(SystemClock.now()),
            expires_at: SystemClock.now() + Duration::HOUR,
        };
        let claims = TokenClaims::of(&caller, &name(username), &caller.roles, &self.platform.clock_rng);
        self.fault(json!({ "path_contains": "Provision", "kind": "lost_response", "times": 0 })).await;
        let admitted = self.ledger.admit(&claims, None, SystemClock.now(), deadline()).await;
        assert!(matches!(admitted, Err(LedgerError::Twilio(_))), "{admitted:?}");
        self.world.no_faults().await;
    }

    /// Makes Twilio answer every GET request whose path contains `path` with `body`.
    async fn answers_with(&self, path: &str, body: Value) {
        let fault = json!({
            "service": "flex-api", "method": "GET", "path_contains": path, "kind": "status", "status": 200, "times": 0,
            "body": body,
        });
        self.world.control("faults", &fault).await;
    }

    async fn is_active_under(&self, sid: &FlexUserSid) -> bool {
        self.provisioning.flex().get(sid, deadline()).await.unwrap().is_active()
    }
}

#[tokio::test]
async fn the_sweep_gives_back_a_leaver_whom_a_mint_without_an_answer_brought_back() {
    for is_member in [false, true] {
        let fixture = Fixture::start().await;
        if !has_a_queue(&fixture) {
            return;
        }
        let sid = fixture.hidden_leaver("ada").await;
        if is_member {
            fixture.write_member(GROUPS[0], &sid, true).await;
        }
        fixture.lost_mint("ada").await;
        assert!(fixture.is_active_under(&sid).await);
        for _ in 0..2 {
            fixture.sweep(None).await.unwrap();
            fixture.work().await;
        }
        assert!(!fixture.is_active_under(&sid).await, "member: {is_member}");
        let swept = fixture.sweep(None).await.unwrap();
        assert_eq!((swept.drifted, swept.queued, swept.orphans.len()), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_job_gives_back_a_leaver_whom_a_mint_without_an_answer_brought_back() {
    let fixture = Fixture::start().await;
    let sid = fixture.hidden_leaver("ada").await;
    fixture.lost_mint("ada").await;
    fixture.ledger.reconcile_member(&sid, None, deadline()).await.unwrap();
    assert!(!fixture.is_active_under(&sid).await);
    // Flexgate has withdrawn the claims of the new person. So a later reactivation of the old user does not restore
    // the new person's roles.
    let person = fixture.platform.people().person(&PersonKey::FlexUser(sid)).await.unwrap().unwrap();
    assert!(person.statements.values().all(Statement::is_silent), "{:?}", person.statements);
}

#[tokio::test]
async fn whoever_is_inactive_is_deactivated_even_if_nobody_can_tell_whose_the_user_is() {
    let fixture = Fixture::start().await;
    let sid = fixture.hidden_leaver("ada").await;
    fixture.lost_mint("ada").await;
    fixture.fault(json!({ "path_contains": "Deprovision", "kind": "status", "status": 503, "times": 0 })).await;
    fixture.state(&news("operator", "ada", Some(false), &[])).await.unwrap_err();
    fixture.world.no_faults().await;
    // Twilio's answers leave out the creation date of the user. Without this date, Flexgate cannot tell whether the
    // user existed before the mint.
    let mut answer = shown(&sid, "ada");
    answer["users"] = json!([answer]);
    fixture.answers_with("/v4/", answer).await;
    fixture.ledger.reconcile_member(&sid, None, deadline()).await.unwrap();
    fixture.world.no_faults().await;
    assert!(!fixture.is_active_under(&sid).await);
}

#[tokio::test]
async fn a_user_whom_a_mint_without_an_answer_created_stays() {
    let fixture = Fixture::start().await;
    fixture.lost_mint("ada").await;
    let sid = fixture.flex(&name("ada")).await.unwrap().flex_user_sid;
    fixture.ledger.reconcile_member(&sid, None, deadline()).await.unwrap();
    assert!(fixture.is_active_under(&sid).await);
    let person = fixture.platform.people().person(&PersonKey::FlexUser(sid)).await.unwrap().unwrap();
    assert_eq!(person.given.asked_since, None);
}

/// Returns an active user without dates, as Twilio may return it.
fn shown(sid: &FlexUserSid, username: &str) -> Value {
    json!({
        "flex_user_sid": sid, "username": username, "email": "new@example.com", "full_name": "Ada Lovelace",
        "roles": ["agent"], "deactivated": false, "worker_sid": format!("WK{}", "0".repeat(32)),
    })
}

/// Deactivates `username` with a statement, and then reactivates the person in Flex with another SID. Returns that
/// SID.
async fn back_under_a_new_sid(fixture: &Fixture, username: &str) -> FlexUserSid {
    fixture.state(&news("api", username, Some(true), &["agent"])).await.unwrap();
    fixture.state(&news("api", username, Some(false), &[])).await.unwrap();
    fixture.world.switch(&json!({ "provision_reactivates": "new_sid" })).await;
    fixture.at_twilio(username, &["supervisor"]).await;
    let sid = fixture.flex(&name(username)).await.unwrap().flex_user_sid;
    assert!(fixture.is_active_under(&sid).await);
    sid
}

#[tokio::test]
async fn a_leaver_who_comes_back_under_a_new_sid_is_deactivated_by_the_sweep() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    fixture.at_twilio("stranger", &["agent"]).await;
    let sid = back_under_a_new_sid(&fixture, "ada@example.com").await;
    let swept = fixture.sweep(None).await.unwrap();
    assert_eq!((swept.inactive_but_active, swept.orphans.len(), swept.queued), (1, 1, 1));
    assert_eq!((fixture.work().await, fixture.is_active_under(&sid).await), (1, false));
    assert_eq!(fixture.sweep(None).await.unwrap().drifted, 0);
}

#[tokio::test]
async fn the_user_whom_somebody_left_behind_under_the_old_sid_is_not_judged() {
    let fixture = Fixture::start().await;
    back_under_a_new_sid(&fixture, "ada@example.com").await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let new = fixture.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    fixture.provisioning.flex().deprovision(&new, deadline()).await.unwrap();
    // The sweep reads both users, but compares only the new one with the source's statement.
    let swept = fixture.ledger.sweep(SweepOptions::default(), deadline, |_| {}).await.unwrap();
    assert_eq!((swept.users, swept.drifted), (2, 1));
}

#[tokio::test]
async fn a_leaver_who_comes_back_under_a_new_sid_is_deactivated_by_the_next_statement() {
    let fixture = Fixture::start().await;
    let sid = back_under_a_new_sid(&fixture, "ada@example.com").await;
    fixture.state(&news("api", "ada@example.com", Some(false), &["agent"])).await.unwrap();
    assert!(!fixture.is_active_under(&sid).await);
}

#[tokio::test]
async fn two_users_of_the_name_keep_no_leaver_active() {
    let fixture = Fixture::start().await;
    let sid = back_under_a_new_sid(&fixture, "ada@example.com").await;
    fixture.world.switch(&json!({ "find_returns_two": true })).await;
    // Two users match, and Flexgate cannot know which one belongs to the person. So it gives access to neither.
    let back = fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await;
    assert!(matches!(back, Err(LedgerError::Twilio(_))), "{back:?}");
    fixture.state(&news("api", "ada@example.com", Some(false), &["agent"])).await.unwrap();
    assert!(!fixture.is_active_under(&sid).await);
}

#[tokio::test]
async fn among_users_of_similar_names_only_the_active_one_of_the_same_spelling_is_deactivated() {
    let fixture = Fixture::start().await;
    let sid = back_under_a_new_sid(&fixture, "ada@example.com").await;
    let key = PersonKey::Username(name("ada@example.com").key());
    let recorded = fixture.platform.people().person(&key).await.unwrap().unwrap().flex_user_sid.unwrap();
    assert_ne!(recorded, sid);
    let mut left = shown(&recorded, "ada@example.com");
    left["deactivated"] = json!(true);
    let another: FlexUserSid = format!("FU{}", "7".repeat(32)).parse().unwrap();
    let somebody_else = shown(&another, "Ada@example.com");
    let hers = shown(&sid, "ada@example.com");
    // The first answer is for the request that reads the user by the SID in the ledger. The second answer is for the
    // search by username.
    fixture.answers_with(recorded.as_str(), left.clone()).await;
    fixture.answers_with("/v4/", json!({ "users": [left, somebody_else, hers] })).await;
    fixture.state(&news("api", "ada@example.com", Some(false), &["agent"])).await.unwrap();
    fixture.world.no_faults().await;
    assert!(!fixture.is_active_under(&sid).await);
}

#[tokio::test]
async fn whoever_comes_back_under_a_new_sid_stays_in_their_groups_though_the_entry_is_written_meanwhile() {
    let fixture = Fixture::start().await;
    let Some(file) = fixture.sqlite_file() else { return };
    fixture.world.switch(&json!({ "provision_reactivates": "new_sid" })).await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let old = fixture.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    fixture.member(GROUPS[0], &old, true).await;
    fixture.state(&news("api", "ada@example.com", Some(false), &["agent"])).await.unwrap();
    // Every write of a SCIM entry fails, just as if another process had written the entry first.
    let db = rusqlite::Connection::open(file).unwrap();
    db.execute_batch("CREATE TRIGGER lost BEFORE INSERT ON scim_users BEGIN SELECT RAISE(IGNORE); END;").unwrap();
    let back = news("api", "ada@example.com", Some(true), &["agent"]);
    assert!(matches!(fixture.ledger.state(&back, deadline()).await, Err(LedgerError::Busy(_))));
    db.execute_batch("DROP TRIGGER lost;").unwrap();
    fixture.state(&back).await.unwrap();
    fixture.ledger.reconcile_member(&old, None, deadline()).await.unwrap();
    assert_eq!(fixture.roles_of("ada@example.com").await, ["agent", "supervisor"]);
}

#[tokio::test]
async fn whoever_comes_back_under_a_new_sid_stays_in_their_groups() {
    let fixture = Fixture::start().await;
    fixture.world.switch(&json!({ "provision_reactivates": "new_sid" })).await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["agent"])).await.unwrap();
    let old = fixture.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    fixture.member(GROUPS[0], &old, true).await;
    for active in [false, true] {
        fixture.state(&news("api", "ada@example.com", Some(active), &["agent"])).await.unwrap();
    }
    let new = fixture.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    assert_ne!(old, new);
    fixture.ledger.reconcile_member(&old, None, deadline()).await.unwrap();
    assert_eq!(fixture.roles_of("ada@example.com").await, ["agent", "supervisor"]);
    // When the group no longer lists the person, Flexgate removes the role.
    fixture.member(GROUPS[0], &old, false).await;
    assert_eq!(fixture.roles_of("ada@example.com").await, ["agent"]);
}

#[tokio::test]
async fn a_second_user_of_the_name_is_an_orphan_and_stays_as_it_is() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    fixture.state(&news("api", "grace@example.com", Some(true), &["agent"])).await.unwrap();
    fixture.at_twilio("Grace@example.com", &["supervisor"]).await;
    let queue = fixture.platform.queue();
    for orphans_after in [None, Some(Duration::DAY)] {
        let options = SweepOptions { queue: Some(queue.as_ref()), orphans_after, ..SweepOptions::default() };
        let swept = fixture.ledger.sweep(options, deadline, |_| {}).await.unwrap();
        assert_eq!((swept.drifted, swept.orphans.len(), swept.queued), (0, 1, 0));
    }
    assert_eq!(fixture.roles_of("Grace@example.com").await, ["supervisor"]);
    assert_eq!(fixture.roles_of("grace@example.com").await, ["agent"]);
}

#[tokio::test]
async fn of_two_active_users_of_one_spelling_only_the_recorded_one_is_the_persons() {
    let fixture = Fixture::start().await;
    fixture.state(&news("api", "ada@example.com", Some(true), &["supervisor"])).await.unwrap();
    let hers = fixture.flex(&name("ada@example.com")).await.unwrap().flex_user_sid;
    let other: FlexUserSid = format!("FU{}", "7".repeat(32)).parse().unwrap();
    let mut hers = shown(&hers, "ada@example.com");
    hers["roles"] = json!(["supervisor"]);
    hers["email"] = json!("ada@example.com");
    fixture.answers_with("/v1/", json!({ "users": [shown(&other, "ada@example.com"), hers], "meta": {} })).await;
    let swept = fixture.ledger.sweep(SweepOptions::default(), deadline, |_| {}).await.unwrap();
    assert_eq!((swept.users, swept.drifted, swept.orphans), (2, 0, vec![other]));
}

#[tokio::test]
async fn a_leaver_whose_name_somebody_else_has_in_another_spelling_ends_nobody_elses_access() {
    let fixture = Fixture::start().await;
    if !has_a_queue(&fixture) {
        return;
    }
    fixture.world.switch(&json!({ "find_case_sensitive": false, "find_returns_deactivated": false })).await;
    fixture.state(&news("api", "grace@example.com", Some(true), &["agent"])).await.unwrap();
    fixture.state(&news("api", "grace@example.com", Some(false), &[])).await.unwrap();
    fixture.at_twilio("Grace@example.com", &["supervisor"]).await;
    let swept = fixture.sweep(None).await.unwrap();
    assert_eq!((swept.drifted, swept.orphans.len(), swept.queued), (0, 1, 0));
    fixture.state(&news("api", "grace@example.com", Some(false), &["agent"])).await.unwrap();
    assert!(fixture.is_active("Grace@example.com").await);
}

/// Polls `work` at most `polls` times and then drops it, as if the process had stopped at that point.
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
    let fixture = Fixture::start().await;
    let mut unfinished = 0;
    for polls in 1.. {
        let who = format!("ada{polls}");
        fixture.at_twilio(&who, &["supervisor"]).await;
        fixture.state(&news("api", &who, Some(true), &["agent"])).await.unwrap();
        assert_eq!(fixture.roles_of(&who).await, ["agent", "supervisor"]);
        let hr = News {
            earlier: Earlier::AllBut([Role::Supervisor].into()),
            ..news("webhook:hr", &who, Some(true), &["agent"])
        };
        let work = Box::pin(fixture.ledger.state(&hr, deadline()));
        let done = pin!(UpTo { work, polls }).await;

        let people = fixture.platform.people();
        let person = people.person(&PersonKey::Username(name(&who).key())).await.unwrap().unwrap();
        // The lease of the stopped process expires.
        let (later, other) = (SystemClock.now() + Duration::DAY, 5);
        let leased = people.lease(person.id, other, later, later + Duration::SECOND).await.unwrap();
        assert!(matches!(leased, PersonLease::Granted { .. }));
        people.release(person.id, other, None).await.unwrap();

        fixture.ledger.reconcile(person.id, deadline()).await.unwrap();
        // The store may have written the statement after the process stopped, so read the person again.
        let person = people.person(&PersonKey::Id(person.id)).await.unwrap().unwrap();
        let is_stated = person.statements.contains_key(&hr.source);
        let expected: &[&str] = if is_stated { &["agent"] } else { &["agent", "supervisor"] };
        assert_eq!(fixture.roles_of(&who).await, expected, "after {polls} polls");
        unfinished += usize::from(is_stated && done.is_none());
        if done.is_some() {
            break;
        }
    }
    assert!(unfinished > 0, "no process stopped after the statement");
}
