//! Tests how several events about one person combine (cases R61 to R71 of the attack register).

use flexgate::base::outbound::Deadline;
use flexgate::domain::{DesiredUser, Role};

use super::*;

impl Hooks {
    /// Delivers a `WorkOS` event about one of ada's memberships. The event happened one hour minus `minute` minutes
    /// ago, so a larger `minute` means a later event.
    async fn membership(&self, kind: &str, group: &str, minute: i64) {
        let at = self.world.clock_rng().now() - time::Duration::hours(1) + time::Duration::minutes(minute);
        let at = at.format(&time::format_description::well_known::Rfc3339).unwrap();
        let user = json!({ "object": "directory_user", "id": "directory_user_1", "email": "ada@example.com",
            "username": "ada", "first_name": "Ada", "last_name": "Lovelace", "state": "active", "updated_at": at });
        let data = if kind.starts_with("dsync.group") {
            json!({ "user": user, "group": { "id": group } })
        } else {
            let state = if kind.ends_with("suspended") { "inactive" } else { "active" };
            json!({ "id": "directory_user_1", "username": "ada", "email": "ada@example.com", "state": state })
        };
        let event = kind.replace(".suspended", ".updated");
        let body = json!({ "id": format!("event_{minute}"), "event": event, "data": data, "created_at": at });
        assert_eq!(self.stamped("workos", "workos-signature", 1000, &body).await.body, json!({ "accepted": 1 }));
        self.settle().await;
    }

    async fn active(&self) -> bool {
        self.user("ada").await["deactivated"] == false
    }
}

const ADDED: &str = "dsync.group.user_added";
const REMOVED: &str = "dsync.group.user_removed";

async fn with_two_groups() -> Hooks {
    let mut sources = sources();
    sources["workos"] = json!({ "members_of": ["a", "b"] });
    Hooks::with(&sources).await
}

#[tokio::test]
async fn r61_a_person_is_active_until_the_last_membership_ends() {
    let hooks = with_two_groups().await;
    hooks.membership(ADDED, "a", 1).await;
    hooks.membership(ADDED, "b", 2).await;
    hooks.membership(REMOVED, "a", 3).await;
    assert!(hooks.active().await);
    hooks.membership(REMOVED, "b", 4).await;
    assert!(!hooks.active().await);
    hooks.membership(ADDED, "a", 5).await;
    assert!(hooks.active().await);
}

#[tokio::test]
async fn r61_a_membership_that_began_before_it_ended_does_not_count_however_late_it_is_delivered() {
    let hooks = with_two_groups().await;
    // The source delivers the end of the membership before its beginning. Flexgate does not know the person yet.
    hooks.membership(REMOVED, "a", 2).await;
    hooks.membership(ADDED, "a", 1).await;
    assert_eq!(hooks.user("ada").await, Value::Null);
    // A membership in another group makes the person active.
    hooks.membership(ADDED, "b", 0).await;
    assert!(hooks.active().await);
}

#[tokio::test]
async fn r61_a_suspension_holds_beside_memberships_and_its_end_lets_them_count_again() {
    let hooks = with_two_groups().await;
    hooks.membership(ADDED, "a", 1).await;
    hooks.membership("dsync.user.suspended", "", 2).await;
    assert!(!hooks.active().await);
    hooks.membership(ADDED, "b", 3).await;
    assert!(!hooks.active().await, "suspended all the same");
    hooks.membership("dsync.user.updated", "", 4).await;
    assert!(hooks.active().await);
}

#[tokio::test]
async fn r62_a_role_that_the_source_withdraws_falls_to_the_default() {
    let hooks = Hooks::start().await;
    let at = hooks.now() * 1000 - 60_000;
    for (step, (roles, expected)) in [
        (json!(["Supervisor"]), "supervisor"),
        (json!([]), "agent"),
        (json!(["supervisor"]), "supervisor"),
        (json!(["unmapped"]), "agent"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut event = clerk("user.updated", "ada", at + i64::try_from(step).unwrap());
        event["data"]["public_metadata"]["roles"] = roles.clone();
        hooks.standard(&format!("msg_{step}"), &event).await;
        hooks.settle().await;
        assert_eq!(hooks.user("ada").await["roles"], json!([expected]), "{roles}");
    }
}

#[tokio::test]
async fn r63_whoever_gets_a_username_that_was_used_before_inherits_no_role() {
    let hooks = Hooks::start().await;
    let at = hooks.now() * 1000 - 60_000;
    let mut first = clerk("user.created", "ada", at);
    first["data"]["public_metadata"]["roles"] = json!(["supervisor"]);
    hooks.standard("msg_1", &first).await;
    hooks.settle().await;
    assert_eq!(hooks.user("ada").await["roles"], json!(["supervisor"]));
    hooks.standard("msg_2", &clerk_deleted("ada", at + 1)).await;
    hooks.settle().await;
    let mut second = clerk("user.created", "ada", at + 2);
    second["data"]["id"] = "user_second".into();
    second["data"]["first_name"] = "Augusta".into();
    hooks.standard("msg_3", &second).await;
    hooks.settle().await;
    let user = hooks.user("ada").await;
    let facts = (&user["roles"], &user["full_name"], &user["deactivated"]);
    assert_eq!(facts, (&json!(["agent"]), &json!("Augusta Lovelace"), &json!(false)));
    // Later events about the first person do not change the second person.
    hooks.standard("msg_4", &clerk("user.updated", "ada", at + 3)).await;
    hooks.standard("msg_5", &clerk_deleted("ada", at + 4)).await;
    hooks.settle().await;
    let user = hooks.user("ada").await;
    assert_eq!((&user["full_name"], &user["deactivated"]), (&json!("Augusta Lovelace"), &json!(false)));
}

#[tokio::test]
async fn r71_an_event_does_not_take_the_last_administrator_away() {
    let hooks = Hooks::start().await;
    let at = hooks.now() * 1000 - 60_000;
    hooks.standard("msg_1", &clerk("user.created", "ada", at)).await;
    hooks.settle().await;
    hooks.provision("ada", Role::Admin).await;
    hooks.standard("msg_2", &clerk_deleted("ada", at + 1)).await;
    hooks.settle().await;
    assert!(hooks.active().await);
    assert!(hooks.dead().await[0].reason.contains("last active administrator"), "{:?}", hooks.dead().await);
    // As soon as another administrator exists, an event can deactivate Ada.
    hooks.provision("grace", Role::Admin).await;
    hooks.standard("msg_3", &clerk_deleted("ada", at + 2)).await;
    hooks.settle().await;
    assert!(!hooks.active().await);
}

impl Hooks {
    /// Creates a user directly at Twilio, like an administrator in the Console.
    async fn provision(&self, username: &str, role: Role) {
        let mut reader = self.world.reader();
        let settings = flexgate_apply::Settings::read(&mut reader);
        let settings = reader.finish(settings).unwrap();
        let user = DesiredUser {
            username: username.parse().unwrap(),
            email: format!("{username}@example.com").parse().unwrap(),
            full_name: "Made By Hand".parse().unwrap(),
            roles: [role].into(),
            worker_attributes: None,
        };
        let flex = self.platform.flex(&settings.common, &settings.credential);
        flex.provision(&user, Deadline::after(std::time::Duration::from_secs(10))).await.unwrap();
    }
}

#[tokio::test]
async fn r70_a_changed_address_loses_no_role_that_flexgate_cannot_give() {
    let hooks = Hooks::start().await;
    let seed = json!({ "count": 1, "prefix": "ada", "roles": ["agent", "wfo.full_access"] });
    assert_eq!(hooks.world.control("users", &seed).await, json!({ "created": 1 }));
    let mut event = clerk("user.updated", "ada000000", hooks.now() * 1000 - 60_000);
    event["data"]["email_addresses"][1]["email_address"] = "countess@example.com".into();
    event["data"]["public_metadata"]["roles"] = json!(["supervisor"]);
    hooks.standard("msg_1", &event).await;
    hooks.settle().await;
    let user = hooks.user("ada000000").await;
    let facts = (&user["email"], &user["roles"]);
    assert_eq!(facts, (&json!("countess@example.com"), &json!(["agent", "wfo.full_access"])));
    assert_eq!(hooks.changes().await, 0, "no list of roles is sent");
}

#[tokio::test]
async fn a_leaver_is_deactivated_though_twilio_does_not_describe_them_in_full() {
    let hooks = Hooks::start().await;
    let at = hooks.now() * 1000 - 60_000;
    hooks.standard("msg_1", &clerk("user.created", "ada", at)).await;
    hooks.settle().await;
    let user = hooks.user("ada").await;
    let body = json!({ "flex_user_sid": user["flex_user_sid"], "username": "ada", "deactivated": false });
    let vague = json!({ "service": "flex-api", "method": "GET", "path_contains": "/Users/FU", "kind": "status",
                        "status": 200, "body": body, "times": "always" });
    hooks.world.fault(&vague).await;
    hooks.standard("msg_2", &clerk_deleted("ada", at + 1)).await;
    hooks.settle().await;
    assert!(!hooks.active().await);
}
