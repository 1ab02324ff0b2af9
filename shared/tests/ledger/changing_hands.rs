//! Tests usernames that pass from one person to another: which identity is bound, and when the previous owner may get
//! another username.

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::{Said, Statement};
use flexgate::domain::{Caller, EventId, Identity, IssuerLimits, RoleSet, Scopes, Unused};
use flexgate::store::{Bound, PersonKey};
use flexgate::users::ledger::{News, TokenClaims};
use serde_json::json;

use crate::fixture::{Fixture, deadline};
use crate::rules::{name, news};
use crate::successors::{ada, hr, identity, is_held, new};

fn of(subject: &str) -> Identity {
    Identity { issuer: "https://idp.example.com".into(), subject: subject.into() }
}

/// An event from a webhook source about the person with this subject. The person's tokens contain the same subject.
fn hook(subject: &str, active: bool) -> News {
    News {
        subject: Some(subject.parse().unwrap()),
        identity: Some(of(subject)),
        ..news("webhook:okta", ada().as_str(), Some(active), &["agent"])
    }
}

#[tokio::test]
async fn r63_a_refused_mint_unbinds_itself_alone() {
    let fixture = Fixture::start().await;
    fixture.state(&hook("old", true)).await.unwrap();
    fixture.state(&hook("old", false)).await.unwrap();
    fixture.state(&hook("new", true)).await.unwrap();
    let (bindings, user) = (fixture.provisioning.bindings(), fixture.second().await.flex_user_sid);
    assert_eq!(bindings.user_of(&of("new")).await.unwrap(), Some(user.clone()));
    // The previous owner's mint began before the takeover. After the takeover, it asks the ledger to confirm the
    // claims. The ledger must refuse, and must not remove the new owner's binding.
    let caller = Caller {
        identity: of("old"),
        scopes: Scopes::default(),
        username: Some(ada()),
        verified_email: None,
        full_name: None,
        roles: RoleSet::new(),
        acts: None,
        unused: Unused::default(),
        limits: IssuerLimits::default(),
        issued_at: Some(SystemClock.now() - time::Duration::MINUTE),
        expires_at: SystemClock.now() + time::Duration::HOUR,
    };
    let claims = TokenClaims::of(&caller, &ada(), &caller.roles, &fixture.platform.clock_rng);
    assert!(is_held(&fixture.ledger.confirm(&claims, &of("old"), &user).await.unwrap_err()));
    assert_eq!(bindings.user_of(&of("new")).await.unwrap(), Some(user));
}

#[tokio::test]
async fn r63_a_takeover_that_a_job_finishes_keeps_the_new_owners_binding() {
    let fixture = Fixture::start().await;
    fixture.state(&hook("old", true)).await.unwrap();
    fixture.state(&hook("old", false)).await.unwrap();
    fixture.provision_fails().await;
    assert!(fixture.state(&hook("new", true)).await.is_err());
    fixture.world.no_faults().await;
    let person = fixture.platform.people().person(&PersonKey::Username(ada().key())).await.unwrap().unwrap();
    fixture.ledger.reconcile(person.id, deadline()).await.unwrap();
    // The source delivers the event again.
    fixture.state(&hook("new", true)).await.unwrap();
    let user = fixture.second().await.flex_user_sid;
    assert_eq!(fixture.provisioning.bindings().user_of(&of("new")).await.unwrap(), Some(user));
}

#[tokio::test]
async fn r63_a_late_event_does_not_bind_the_previous_owner() {
    let fixture = Fixture::start().await;
    let sid = fixture.first().await;
    fixture.deactivated_in_the_console(&sid).await;
    fixture.state(&new()).await.unwrap();
    // Returns an event that happened `minutes_ago` minutes ago. Its source has never sent anything about either owner.
    let event = |minutes_ago: i64| {
        let (at, id) = (SystemClock.now() - time::Duration::minutes(minutes_ago), EventId::from(3));
        News {
            subject: Some("ada-the-first".parse().unwrap()),
            identity: Some(identity()),
            statement: Statement { active: Some(Said::access(at, &id, true)), ..Statement::default() },
            ..news("webhook:hr", ada().as_str(), Some(true), &["supervisor"])
        }
    };
    for minutes_ago in [60, 59] {
        fixture.state(&event(minutes_ago)).await.unwrap();
        assert_eq!(fixture.provisioning.bindings().user_of(&identity()).await.unwrap(), None);
    }
    // An event that happened after the takeover is about the new owner.
    fixture.state(&event(0)).await.unwrap();
    let user = fixture.second().await.flex_user_sid;
    assert_eq!(fixture.provisioning.bindings().user_of(&identity()).await.unwrap(), Some(user));
}

#[tokio::test]
async fn r63_a_name_is_not_begun_anew_for_somebody_who_is_bound_to_another_user() {
    let fixture = Fixture::start().await;
    fixture.changes_hands().await;
    fixture.at_twilio("grace@example.com", &["agent"]).await;
    let grace = fixture.flex(&name("grace@example.com")).await.unwrap().flex_user_sid;
    let bound = fixture.provisioning.bindings().bind(&identity(), &grace, SystemClock.now()).await.unwrap();
    assert_eq!(bound, Bound::Yes);
    let back = News { identity: Some(identity()), ..hr("countess@example.com", true) };
    assert!(is_held(&fixture.state(&back).await.unwrap_err()));
    assert!(fixture.flex(&name("countess@example.com")).await.is_none());
}

#[tokio::test]
async fn r63_whoever_begins_anew_gets_nothing_of_a_user_whom_no_search_shows() {
    let fixture = Fixture::start().await;
    fixture.changes_hands().await;
    fixture.at_twilio("countess@example.com", &["admin"]).await;
    let other = fixture.flex(&name("countess@example.com")).await.unwrap();
    let bindings = fixture.provisioning.bindings();
    bindings.bind(&of("stranger"), &other.flex_user_sid, SystemClock.now()).await.unwrap();
    fixture.deactivated_in_the_console(&other.flex_user_sid).await;
    fixture.world.switch(&json!({ "find_returns_deactivated": false })).await;
    fixture.state(&hr("countess@example.com", true)).await.unwrap();
    assert_eq!(fixture.roles_of("countess@example.com").await, ["supervisor"]);
    assert_eq!(bindings.user_of(&of("stranger")).await.unwrap(), None);
    // If the username index shows a user with the requested username, the previous owner cannot get that username.
    let fixture = Fixture::start().await;
    fixture.changes_hands().await;
    fixture.ledger.see(&other).await.unwrap();
    assert!(is_held(&fixture.state(&hr("countess@example.com", true)).await.unwrap_err()));
}

#[tokio::test]
async fn r63_an_operators_word_about_the_lost_username_does_not_keep_somebody_out() {
    let fixture = Fixture::start().await;
    fixture.state(&hr("ada@example.com", true)).await.unwrap();
    fixture.state(&hr("ada@example.com", false)).await.unwrap();
    fixture.state(&news("operator", "ada@example.com", Some(false), &[])).await.unwrap();
    fixture.state(&new()).await.unwrap();
    fixture.state(&hr("countess@example.com", true)).await.unwrap();
    assert_eq!(fixture.roles_of("countess@example.com").await, ["supervisor"]);
    fixture.state(&hr("countess@example.com", false)).await.unwrap();
    assert!(!fixture.is_active("countess@example.com").await);
}
