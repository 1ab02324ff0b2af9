//! A username changes hands because an operator, or SCIM, says that it is somebody else's now: nothing of the previous
//! owner is kept. Also, when this is refused.

use flexgate::base::clock_rng::{Clock as _, SystemClock};
use flexgate::domain::ledger::{AttachmentRefused, Source};
use flexgate::domain::{DesiredUser, EventId, FlexUser, FlexUserSid, Identity, Username};
use flexgate::store::{Bound, PersonKey};
use flexgate::users::ledger::{Earlier, LedgerError, News};
use http::Method;
use serde_json::json;

use crate::world::{GROUPS, World, deadline};

fn ada() -> Username {
    "ada@example.com".parse().unwrap()
}

/// The statement that `flexgate users provision --new` makes.
fn new() -> News {
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

fn identity() -> Identity {
    Identity { issuer: "https://idp.example.com".into(), subject: "ada-the-first".into() }
}

impl World {
    /// A user whom only Twilio knows, with an identity bound to it and a membership of a SCIM group.
    async fn first(&self) -> FlexUserSid {
        self.at_twilio(ada().as_str(), &["supervisor"]).await;
        let sid = self.flex(&ada()).await.unwrap().flex_user_sid;
        let bound = self.provisioning.bindings().bind(&identity(), &sid, SystemClock.now()).await.unwrap();
        assert_eq!(bound, Bound::Yes);
        self.write_member(GROUPS[0], &sid, true).await;
        sid
    }

    async fn deactivated_in_the_console(&self, sid: &FlexUserSid) {
        self.provisioning.flex().deprovision(sid, deadline()).await.unwrap();
    }

    async fn second(&self) -> FlexUser {
        let user = self.flex(&ada()).await.unwrap();
        assert!(user.is_active());
        user
    }

    async fn nothing_is_left_of_the_first(&self) {
        let user = self.second().await;
        assert_eq!(user.roles.as_ref().unwrap().names(), ["agent"]);
        assert_eq!(user.email.as_deref(), Some("new@example.com"));
        assert_eq!(self.provisioning.bindings().user_of(&identity()).await.unwrap(), None);
        // The next reconciliation finds nothing of them either.
        let key = PersonKey::Username(ada().key());
        let person = self.platform.people().person(&key).await.unwrap().unwrap();
        self.ledger.reconcile(person.id, deadline()).await.unwrap();
        self.ledger.reconcile_member(&user.flex_user_sid, None, deadline()).await.unwrap();
        assert_eq!(self.second().await.roles.unwrap().names(), ["agent"]);
    }
}

fn is_held(refused: &LedgerError) -> bool {
    matches!(refused, LedgerError::Attachment(AttachmentRefused::HeldByAnother(_)))
}

#[tokio::test]
async fn r63_somebody_new_gets_nothing_of_a_user_of_whom_the_ledger_does_not_know() {
    let world = World::start().await;
    let sid = world.first().await;
    world.deactivated_in_the_console(&sid).await;
    world.state(&new()).await.unwrap();
    world.nothing_is_left_of_the_first().await;
}

#[tokio::test]
async fn r63_nor_what_the_version_before_the_ledger_stored_about_them() {
    let world = World::start().await;
    let sid = world.first().await;
    world.scim_entry(ada().as_str(), &sid).await;
    world.deactivated_in_the_console(&sid).await;
    world.state(&new()).await.unwrap();
    world.nothing_is_left_of_the_first().await;
}

#[tokio::test]
async fn r63_nor_of_one_whom_a_search_does_not_show() {
    let world = World::start().await;
    let sid = world.first().await;
    world.deactivated_in_the_console(&sid).await;
    world.control(Method::POST, "switches", &json!({ "find_returns_deactivated": false })).await;
    world.state(&new()).await.unwrap();
    world.nothing_is_left_of_the_first().await;
}

#[tokio::test]
async fn r63_whoever_has_not_left_keeps_the_username_whether_the_ledger_knows_them_or_not() {
    let world = World::start().await;
    world.first().await;
    assert!(is_held(&world.state(&new()).await.unwrap_err()));
    let user = world.second().await;
    assert_eq!(user.roles.unwrap().names(), ["supervisor"]);
    assert!(world.provisioning.bindings().user_of(&identity()).await.unwrap().is_some());
    // Now the ledger knows them, but only by their group.
    world.ledger.reconcile_member(&user.flex_user_sid, None, deadline()).await.unwrap();
    assert!(is_held(&world.state(&new()).await.unwrap_err()));
    // A person who is deactivated in the Console has left, even if no source says so.
    world.deactivated_in_the_console(&user.flex_user_sid).await;
    world.state(&new()).await.unwrap();
    world.nothing_is_left_of_the_first().await;
}

#[tokio::test]
async fn r63_a_user_whom_a_source_calls_active_has_not_left_though_the_console_deactivated_them() {
    let world = World::start().await;
    let says = News { source: Source::Api, earlier: Earlier::Everything, ..new() };
    world.state(&says).await.unwrap();
    let sid = world.second().await.flex_user_sid;
    world.deactivated_in_the_console(&sid).await;
    assert!(is_held(&world.state(&new()).await.unwrap_err()));
}

#[tokio::test]
async fn r63_a_takeover_that_twilio_did_not_carry_out_is_repeated() {
    let world = World::start().await;
    let sid = world.first().await;
    world.deactivated_in_the_console(&sid).await;
    world.provision_fails().await;
    assert!(matches!(world.state(&new()).await, Err(LedgerError::Twilio(_))));
    world.no_faults().await;
    world.state(&new()).await.unwrap();
    world.nothing_is_left_of_the_first().await;
    // Once the takeover is carried out, the new owner keeps the username.
    assert!(is_held(&world.state(&new()).await.unwrap_err()));
}

#[tokio::test]
async fn r63_a_lost_answer_does_not_make_the_second_the_first() {
    let world = World::start().await;
    let sid = world.first().await;
    world.deactivated_in_the_console(&sid).await;
    world.fault(json!({ "path_contains": "Provision", "kind": "lost_response", "times": 0 })).await;
    assert!(world.state(&new()).await.is_err());
    world.no_faults().await;
    // Flex already shows the new owner, who has not left: the repeated command means that person.
    world.state(&new()).await.unwrap();
    world.nothing_is_left_of_the_first().await;
}
