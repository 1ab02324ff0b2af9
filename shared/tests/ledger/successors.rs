//! Tests in which an operator or SCIM gives a username to another person. The new owner must inherit nothing from the
//! previous owner.

use flexgate::authn::LEEWAY;
use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::{AttachmentRefused, Said, Source, Statement};
use flexgate::domain::{
    Caller, DesiredUser, EventId, FlexUser, FlexUserSid, Identity, IssuerLimits, RoleSet, Scopes, Unused, Username,
};
use flexgate::store::{Bound, PersonKey};
use flexgate::users::ledger::{Earlier, LedgerError, News, TokenClaims};
use serde_json::json;

use crate::fixture::{Fixture, GROUPS, deadline};
use crate::rules::{name, news};

pub fn ada() -> Username {
    "ada@example.com".parse().unwrap()
}

/// Returns the statement that the command `flexgate users provision --new` makes.
pub fn new() -> News {
    let user = DesiredUser {
        username: ada(),
        email: "new@example.com".parse().unwrap(),
        full_name: "Ada the Second".parse().unwrap(),
        roles: ["agent".parse().unwrap()].into(),
        worker_attributes: None,
    };
    let news = News::user(Source::Operator, user, SystemClock.now(), &EventId::from(7));
    News { earlier: Earlier::Nothing, ..news }
}

pub fn identity() -> Identity {
    Identity { issuer: "https://idp.example.com".into(), subject: "ada-the-first".into() }
}

impl Fixture {
    /// Creates a user at Twilio whom the people ledger does not know. The user has a bound identity, and a SCIM group
    /// lists the user.
    pub async fn first(&self) -> FlexUserSid {
        self.at_twilio(ada().as_str(), &["supervisor"]).await;
        let sid = self.flex(&ada()).await.unwrap().flex_user_sid;
        let bound = self.provisioning.bindings().bind(&identity(), &sid, SystemClock.now()).await.unwrap();
        assert_eq!(bound, Bound::Yes);
        self.write_member(GROUPS[0], &sid, true).await;
        sid
    }

    pub async fn deactivated_in_the_console(&self, sid: &FlexUserSid) {
        self.provisioning.flex().deprovision(sid, deadline()).await.unwrap();
    }

    pub async fn second(&self) -> FlexUser {
        let user = self.flex(&ada()).await.unwrap();
        assert!(user.is_active());
        user
    }

    pub async fn nothing_is_left_of_the_first(&self) {
        let user = self.second().await;
        assert_eq!(user.roles.as_ref().unwrap().names(), ["agent"]);
        assert_eq!(user.email.as_deref(), Some("new@example.com"));
        assert_eq!(self.provisioning.bindings().user_of(&identity()).await.unwrap(), None);
        // The next reconciliation must not restore anything that belonged to the previous owner either.
        let key = PersonKey::Username(ada().key());
        let person = self.platform.people().person(&key).await.unwrap().unwrap();
        self.ledger.reconcile(person.id, deadline()).await.unwrap();
        self.ledger.reconcile_member(&user.flex_user_sid, None, deadline()).await.unwrap();
        assert_eq!(self.second().await.roles.unwrap().names(), ["agent"]);
    }
}

pub fn is_held(refused: &LedgerError) -> bool {
    matches!(refused, LedgerError::Attachment(AttachmentRefused::HeldByAnother(_)))
}

#[tokio::test]
async fn r63_somebody_new_gets_nothing_of_a_user_of_whom_the_ledger_does_not_know() {
    let fixture = Fixture::start().await;
    let sid = fixture.first().await;
    fixture.deactivated_in_the_console(&sid).await;
    fixture.state(&new()).await.unwrap();
    fixture.nothing_is_left_of_the_first().await;
}

#[tokio::test]
async fn r63_nor_what_the_version_before_the_ledger_stored_about_them() {
    let fixture = Fixture::start().await;
    let sid = fixture.first().await;
    fixture.scim_entry(ada().as_str(), &sid).await;
    fixture.deactivated_in_the_console(&sid).await;
    fixture.state(&new()).await.unwrap();
    fixture.nothing_is_left_of_the_first().await;
}

#[tokio::test]
async fn r63_nor_of_one_whom_a_search_does_not_show() {
    let fixture = Fixture::start().await;
    let sid = fixture.first().await;
    fixture.deactivated_in_the_console(&sid).await;
    fixture.world.switch(&json!({ "find_returns_deactivated": false })).await;
    fixture.state(&new()).await.unwrap();
    fixture.nothing_is_left_of_the_first().await;
}

#[tokio::test]
async fn r63_whoever_has_not_left_keeps_the_username_whether_the_ledger_knows_them_or_not() {
    let fixture = Fixture::start().await;
    fixture.first().await;
    assert!(is_held(&fixture.state(&new()).await.unwrap_err()));
    let user = fixture.second().await;
    assert_eq!(user.roles.unwrap().names(), ["supervisor"]);
    assert!(fixture.provisioning.bindings().user_of(&identity()).await.unwrap().is_some());
    // After this reconciliation, the ledger has an entry for the person, but only because of the group.
    fixture.ledger.reconcile_member(&user.flex_user_sid, None, deadline()).await.unwrap();
    assert!(is_held(&fixture.state(&new()).await.unwrap_err()));
    // A person whose user was deactivated in the Console counts as somebody who has left, even if no source says so.
    fixture.deactivated_in_the_console(&user.flex_user_sid).await;
    fixture.state(&new()).await.unwrap();
    fixture.nothing_is_left_of_the_first().await;
}

#[tokio::test]
async fn r63_a_user_whom_a_source_calls_active_has_not_left_though_the_console_deactivated_them() {
    let fixture = Fixture::start().await;
    let says = News { source: Source::Api, earlier: Earlier::Everything, ..new() };
    fixture.state(&says).await.unwrap();
    let sid = fixture.second().await.flex_user_sid;
    fixture.deactivated_in_the_console(&sid).await;
    assert!(is_held(&fixture.state(&new()).await.unwrap_err()));
}

#[tokio::test]
async fn r63_a_takeover_that_twilio_did_not_carry_out_is_repeated() {
    let fixture = Fixture::start().await;
    let sid = fixture.first().await;
    fixture.deactivated_in_the_console(&sid).await;
    fixture.provision_fails().await;
    assert!(matches!(fixture.state(&new()).await, Err(LedgerError::Twilio(_))));
    fixture.world.no_faults().await;
    fixture.state(&new()).await.unwrap();
    fixture.nothing_is_left_of_the_first().await;
    // Once the takeover is finished, the new owner keeps the username.
    assert!(is_held(&fixture.state(&new()).await.unwrap_err()));
}

#[tokio::test]
async fn r63_a_lost_answer_does_not_make_the_second_the_first() {
    let fixture = Fixture::start().await;
    let sid = fixture.first().await;
    fixture.deactivated_in_the_console(&sid).await;
    fixture.fault(json!({ "path_contains": "Provision", "kind": "lost_response", "times": 0 })).await;
    assert!(fixture.state(&new()).await.is_err());
    fixture.world.no_faults().await;
    // The operator repeats the command. Flex already shows the new owner as active, so the repeated command is about
    // the new owner.
    fixture.state(&new()).await.unwrap();
    fixture.nothing_is_left_of_the_first().await;
}

/// Returns a statement from the webhook source `hr` about its subject `hr-1`.
pub fn hr(username: &str, active: bool) -> News {
    News { subject: Some("hr-1".parse().unwrap()), ..news("webhook:hr", username, Some(active), &["supervisor"]) }
}

impl Fixture {
    /// Lets the subject `hr-1` leave, and gives the username to a new person.
    pub async fn changes_hands(&self) {
        self.state(&hr("ada@example.com", true)).await.unwrap();
        self.state(&hr("ada@example.com", false)).await.unwrap();
        self.state(&new()).await.unwrap();
        assert!(is_held(&self.state(&hr("ada@example.com", true)).await.unwrap_err()));
    }
}

#[tokio::test]
async fn r63_a_previous_owner_who_is_bound_while_the_username_changes_hands_is_unbound() {
    let fixture = Fixture::start().await;
    let sid = fixture.first().await;
    fixture.deactivated_in_the_console(&sid).await;
    let claims = |issued_at| {
        let caller = Caller {
            identity: identity(),
            scopes: Scopes::default(),
            username: Some(ada()),
            verified_email: None,
            full_name: None,
            roles: RoleSet::new(),
            acts: None,
            unused: Unused::default(),
            limits: IssuerLimits::default(),
            issued_at: Some(issued_at),
            expires_at: SystemClock.now() + time::Duration::HOUR,
        };
        TokenClaims::of(&caller, &ada(), &caller.roles, &fixture.platform.clock_rng)
    };
    let before = SystemClock.now() - time::Duration::MINUTE;
    // A mint binds the previous owner's identity during the takeover: after Flexgate has stored the new owner's
    // statement, but before Twilio has answered.
    fixture.fault(json!({ "path_contains": "Provision", "kind": "delay", "delay_ms": 1_000, "times": 1 })).await;
    let bindings = fixture.provisioning.bindings();
    let bound_meanwhile = async {
        fixture.world.fault_met().await;
        let bound = bindings.bind(&identity(), &sid, SystemClock.now()).await.unwrap();
        (bound, fixture.ledger.confirm(&claims(before), &identity(), &sid).await)
    };
    let second = new();
    let (stated, (bound, confirmed)) = tokio::join!(fixture.state(&second), bound_meanwhile);
    assert_eq!((stated.is_ok(), bound), (true, Bound::Yes));
    assert!(is_held(&confirmed.unwrap_err()));
    fixture.nothing_is_left_of_the_first().await;
    // Another mint has read the ledger before the takeover, but binds the identity after the takeover. So this mint
    // must check the ledger again.
    let user = fixture.second().await.flex_user_sid;
    assert_eq!(bindings.bind(&identity(), &user, SystemClock.now()).await.unwrap(), Bound::Yes);
    assert!(is_held(&fixture.ledger.confirm(&claims(before), &identity(), &user).await.unwrap_err()));
    assert_eq!(bindings.user_of(&identity()).await.unwrap(), None);
    // The token of the next mint is certainly newer than the takeover, even if the issuer's clock is fast. So Flexgate
    // accepts it.
    assert_eq!(bindings.bind(&identity(), &user, SystemClock.now()).await.unwrap(), Bound::Yes);
    let later = SystemClock.now() + LEEWAY + time::Duration::SECOND;
    fixture.ledger.confirm(&claims(later), &identity(), &user).await.unwrap();
    assert_eq!(bindings.user_of(&identity()).await.unwrap(), Some(user));
}

#[tokio::test]
async fn r63_whoever_lost_their_username_may_come_back_under_another_one() {
    let fixture = Fixture::start().await;
    fixture.changes_hands().await;
    fixture.state(&hr("countess@example.com", true)).await.unwrap();
    assert_eq!(fixture.roles_of("countess@example.com").await, ["supervisor"]);
    assert_eq!(fixture.second().await.roles.unwrap().names(), ["agent"]);
    // The source's later statements about this subject concern the user with the new username.
    fixture.state(&hr("countess@example.com", false)).await.unwrap();
    assert!(!fixture.is_active("countess@example.com").await);
    assert!(fixture.second().await.is_active());
    assert_eq!(fixture.roles_of("ada@example.com").await, ["agent"]);
}

#[tokio::test]
async fn r63_but_not_under_somebody_elses_nor_against_another_source() {
    let fixture = Fixture::start().await;
    fixture.state(&news("api", "grace@example.com", Some(true), &["agent"])).await.unwrap();
    fixture.state(&hr("ada@example.com", true)).await.unwrap();
    fixture.state(&news("api", "ada@example.com", Some(false), &[])).await.unwrap();
    fixture.state(&hr("ada@example.com", false)).await.unwrap();
    fixture.state(&new()).await.unwrap();
    let back = fixture.state(&hr("countess@example.com", true)).await;
    assert!(matches!(back, Err(LedgerError::Attachment(AttachmentRefused::Inactive(Source::Api)))), "{back:?}");

    let fixture = Fixture::start().await;
    fixture.state(&news("api", "grace@example.com", Some(true), &["agent"])).await.unwrap();
    fixture.changes_hands().await;
    assert!(is_held(&fixture.state(&hr("grace@example.com", true)).await.unwrap_err()));
    assert_eq!(fixture.roles_of("grace@example.com").await, ["agent"]);
}

#[tokio::test]
async fn r63_a_late_event_under_another_name_brings_no_leaver_back() {
    let hr_at = |username: &str, active: bool, minutes_ago: i64| {
        let (at, id) = (SystemClock.now() - time::Duration::minutes(minutes_ago), EventId::from(3));
        News {
            statement: Statement { active: Some(Said::access(at, &id, active)), ..Statement::default() },
            ..hr(username, active)
        }
    };
    let joined = |group: &str, minutes_ago: i64, member: bool, username: &str| {
        let (at, id) = (SystemClock.now() - time::Duration::minutes(minutes_ago), EventId::from(3));
        let memberships = [(group.into(), Said::access(at, &id, member))].into();
        News { statement: Statement { memberships, ..Statement::default() }, ..hr(username, member) }
    };
    let fixture = Fixture::start().await;
    for said in [hr_at("ada@example.com", true, 60), hr_at("ada@example.com", false, 10), new()] {
        fixture.state(&said).await.unwrap();
    }
    assert!(is_held(&fixture.state(&hr_at("countess@example.com", true, 30)).await.unwrap_err()));
    assert!(fixture.flex(&name("countess@example.com")).await.is_none());

    let fixture = Fixture::start().await;
    fixture.state(&hr_at("ada@example.com", true, 90)).await.unwrap();
    for said in [joined("desk", 60, true, "ada@example.com"), joined("desk", 10, false, "ada@example.com")] {
        fixture.state(&said).await.unwrap();
    }
    fixture.state(&hr("ada@example.com", false)).await.unwrap();
    fixture.state(&new()).await.unwrap();
    assert!(is_held(&fixture.state(&joined("desk", 30, true, "countess@example.com")).await.unwrap_err()));
    assert!(fixture.flex(&name("countess@example.com")).await.is_none());
}

#[tokio::test]
async fn r63_nor_does_whoever_lost_a_username_get_a_user_whom_only_flex_knows() {
    let fixture = Fixture::start().await;
    fixture.changes_hands().await;
    fixture.at_twilio("root@example.com", &["admin"]).await;
    assert!(is_held(&fixture.state(&hr("root@example.com", true)).await.unwrap_err()));
    assert_eq!(fixture.roles_of("root@example.com").await, ["admin"]);
}
