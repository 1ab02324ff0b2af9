//! Tests random but reproducible sequences of statements from all sources. Compares each result with the results of the
//! oracle (`oracle.rs`) and of the function `desired`.

use std::sync::Arc;

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::{AttachmentRefused, MayClaim, Said, Source, Statement, Step as Sent};
use flexgate::domain::{Caller, EventId, FlexUser, Identity, IssuerLimits, Role, Scopes, Unused, Username};
use flexgate::users::ledger::{Earlier, LedgerError, News, Outcome, Preview, Report, TokenClaims};
use futures_util::StreamExt as _;
use time::Duration;

use crate::fixture::{Fixture, GROUPS, deadline};
use crate::oracle::{Act, Oracle, Step, Who};

const LENGTH: usize = 7;

const WHO: [Who; 5] = [Who::Scim, Who::Api, Who::Operator, Who::Hr, Who::Crm];
const ACTS: [Act; 5] = [Act::Add, Act::Deactivate, Act::Remove, Act::Reactivate, Act::Reuse];

/// Generates the steps of a sequence with `SplitMix64`. The same seed always gives the same steps.
fn steps(seed: u64) -> Vec<Step> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut below = |limit: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit).unwrap()
    };
    let mut step = || {
        if below(4) == 0 {
            return Step::Member(below(2), below(3) > 0);
        }
        if below(5) == 0 {
            return Step::Mints(below(2) > 0);
        }
        let who = WHO[below(5)];
        // Only webhook sources have their own ids for people, so only they can give a username to another person.
        Step::Says(who, ACTS[below(if who.is_webhook() { 5 } else { 4 })])
    };
    (0..LENGTH).map(|_| step()).collect()
}

fn source(who: Who) -> Source {
    match who {
        Who::Scim => Source::Scim,
        Who::Api => Source::Api,
        Who::Operator => Source::Operator,
        Who::Hr => Source::Webhook("hr".parse().unwrap()),
        Who::Crm => Source::Webhook("crm".parse().unwrap()),
    }
}

fn statement(act: Act) -> Statement {
    let (at, id) = (SystemClock.now(), EventId::from(1));
    let roles = |names: &[&str]| Some(Said::new(at, &id, names.iter().map(|&name| name.into()).collect()));
    let active = |on: bool| Some(Said::access(at, &id, on));
    let full_name = Some(Said::new(at, &id, Some("Ada Lovelace".parse().unwrap())));
    match act {
        Act::Add => {
            Statement { active: active(true), roles: roles(&["supervisor"]), full_name, ..Statement::default() }
        }
        Act::Reuse => Statement { active: active(true), roles: roles(&[]), full_name, ..Statement::default() },
        Act::Reactivate => Statement { active: active(true), full_name, ..Statement::default() },
        Act::Deactivate => Statement { active: active(false), ..Statement::default() },
        Act::Remove => Statement { roles: roles(&[]), ..Statement::default() },
    }
}

/// Performs a mint by the person, in the same steps as just-in-time provisioning.
async fn mint(fixture: &Fixture, username: &Username, subject: String, supervisor: bool, user: Option<&FlexUser>) {
    let caller = Caller {
        identity: Identity { issuer: "https://idp.example.com".into(), subject: subject.into() },
        scopes: Scopes::default(),
        username: Some(username.clone()),
        verified_email: Some("ada@example.com".parse().unwrap()),
        full_name: Some("Ada Lovelace".parse().unwrap()),
        roles: supervisor.then_some(Role::Supervisor).into_iter().collect(),
        acts: None,
        unused: Unused::default(),
        limits: IssuerLimits { may_claim: Arc::new(MayClaim::Everybody), ..IssuerLimits::default() },
        issued_at: None,
        expires_at: SystemClock.now() + Duration::HOUR,
    };
    let claims = TokenClaims::of(&caller, username, &caller.roles, &fixture.platform.clock_rng);
    let began = SystemClock.now();
    loop {
        let done = match user {
            Some(user) => fixture.ledger.follow(&claims, &user.flex_user_sid, deadline()).await.map(drop),
            None => fixture.ledger.admit(&claims, None, began, deadline()).await.map(drop),
        };
        match done {
            Err(LedgerError::Busy(_)) => {}
            Ok(()) | Err(LedgerError::InactiveBy(_) | LedgerError::Attachment(AttachmentRefused::Inactive(_))) => {
                return;
            }
            Err(error) => unreachable!("{username}: {error:?}"),
        }
    }
}

async fn play(fixture: &Fixture, seed: usize) {
    let username: Username = format!("user{seed}@example.com").parse().unwrap();
    let (steps, mut oracle) = (steps(seed as u64), Oracle::default());
    let mut subjects = [(Who::Hr, 0), (Who::Crm, 0)];
    let mut before: Option<FlexUser> = None;
    for (number, step) in steps.iter().enumerate() {
        match (step, &before) {
            (Step::Member(group, present), Some(user)) => {
                fixture.member(GROUPS[*group], &user.flex_user_sid, *present).await;
            }
            (Step::Member(..), None) => {}
            (Step::Mints(supervisor), user) => {
                let subject = format!("{seed}-{}", oracle.owners);
                mint(fixture, &username, subject, *supervisor, user.as_ref()).await;
            }
            (Step::Says(who, act), user) => {
                let mut subject = None;
                for (of, number) in subjects.iter_mut().filter(|(of, _)| of == who) {
                    let next = *number + u32::from(*act == Act::Reuse);
                    subject = Some(format!("{of:?}-{seed}-{next}").parse().unwrap());
                    *number = next;
                }
                let news = News {
                    source: source(*who),
                    subject,
                    identity: None,
                    username: Some(username.clone()),
                    // SCIM, the API and operators look up the Flex user before they make a statement. So their
                    // statements contain the user's SID.
                    flex_user_sid: user.as_ref().filter(|_| !who.is_webhook()).map(|user| user.flex_user_sid.clone()),
                    statement: statement(*act),
                    earlier: Earlier::Everything,
                };
                let preview = fixture.ledger.preview(&news, deadline()).await;
                let done = fixture.state(&news).await;
                assert!(comes_true(&preview, &done), "seed {seed}, step {number} of {steps:?}: {preview:?}, {done:?}");
                let taken = done.is_ok();
                assert!(
                    matches!(done, Ok(_) | Err(LedgerError::InactiveBy(_) | LedgerError::Attachment(_))),
                    "seed {seed}, step {number} of {steps:?}: {done:?}"
                );
                // If the ledger refused the new subject, the source continues with the old subject.
                if *act == Act::Reuse && !taken {
                    subjects.iter_mut().filter(|(of, _)| of == who).for_each(|(_, number)| *number -= 1);
                }
            }
        }
        oracle.step(*step);
        let what = format!("seed {seed}, step {number} of {steps:?}");
        before = fixture.flex(&username).await;
        assert_eq!(before.is_some(), oracle.exists, "{what}");
        let Some(user) = &before else { continue };
        assert_eq!(user.is_active(), oracle.active, "{what}");
        let roles = user.roles.as_ref().unwrap().names();
        if oracle.active {
            assert_eq!(roles, if oracle.supervisor { ["supervisor"] } else { ["agent"] }, "{what}");
        }
        let memberships = fixture.platform.scim().memberships(std::slice::from_ref(&user.flex_user_sid)).await.unwrap();
        let view = fixture.ledger.view(user, None, &memberships).await.unwrap();
        assert!(view.in_step, "{what}");
    }
}

/// Whether a statement had the result that its preview had predicted.
fn comes_true(preview: &Result<Preview, LedgerError>, done: &Result<Report, LedgerError>) -> bool {
    let (preview, done) = match (preview, done) {
        (Ok(preview), Ok(done)) => (preview, done),
        (Err(preview), Err(done)) => return std::mem::discriminant(preview) == std::mem::discriminant(done),
        _ => return false,
    };
    let expected = match (&preview.plan.step, &preview.user) {
        (Sent::Provision(_), None) => Outcome::Created,
        (Sent::Provision(_) | Sent::UpdateEmail(_), Some(_)) => Outcome::Updated,
        (Sent::Deprovision, _) => Outcome::Deactivated,
        (Sent::Nothing, Some(_)) => Outcome::Unchanged,
        (Sent::Nothing | Sent::UpdateEmail(_), None) => {
            return matches!(done.outcome, Outcome::Stale | Outcome::NoUser);
        }
    };
    let is_as_planned = match (&preview.plan.step, &done.user) {
        (Sent::Provision(wanted), Some(user)) => user.difference(wanted).is_none(),
        _ => true,
    };
    done.outcome == expected && is_as_planned
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sequence_of_every_source_ends_as_the_rules_say() {
    // The DynamoDB emulator handles one request at a time, and copies all its data for each transaction. This is slow,
    // so the test runs fewer sequences there.
    let on_dynamodb = std::env::var("FLEXGATE_TEST_AWS_ENDPOINT").is_ok();
    let (sequences, of_one_world, at_once) = if on_dynamodb { (200, 10, 2) } else { (2_000, 2_000, 8) };
    for first in (0..sequences).step_by(of_one_world) {
        let fixture = Arc::new(Fixture::start().await);
        let plays = futures_util::stream::iter(first..).take(of_one_world).map(|seed| {
            let fixture = fixture.clone();
            tokio::spawn(async move { play(&fixture, seed).await })
        });
        let mut ended = plays.buffer_unordered(at_once);
        while let Some(played) = ended.next().await {
            played.unwrap();
        }
    }
}
