//! Tests events in the formats that vendors really send (cases R60, R62 and R64 to R68 of the attack register).

use flexgate::store::{Note, Noted};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use super::*;

impl Hooks {
    fn minutes_ago(&self, minutes: i64) -> String {
        (self.world.clock_rng().now() - Duration::minutes(minutes)).format(&Rfc3339).unwrap()
    }

    /// Delivers and applies a `WorkOS` event that happened `minutes_ago` minutes ago.
    async fn workos(&self, kind: &str, minutes_ago: i64, data: Value) -> Reply {
        let body = json!({ "id": format!("event_{kind}_{minutes_ago}_{}", data["id"]), "event": kind, "data": data,
            "created_at": self.minutes_ago(minutes_ago) });
        let reply = self.stamped("workos", "workos-signature", 1000, &body).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        self.settle().await;
        reply
    }

    async fn zitadel(&self, kind: &str, aggregate: &str, sequence: u64, payload: Value) -> Reply {
        let body = json!({ "aggregateID": aggregate, "aggregateType": "user", "resourceOwner": "org-1",
            "instanceID": "1", "sequence": sequence, "event_type": kind, "event_payload": payload,
            "created_at": self.minutes_ago(100 - i64::try_from(sequence).unwrap()) });
        let reply = self.stamped("zitadel", "zitadel-signature", 1, &body).await;
        self.settle().await;
        reply
    }

    async fn is_active(&self, username: &str) -> bool {
        self.user(username).await["deactivated"] == false
    }

    /// Waits until the store contains `count` notes. Returns the notes.
    async fn notes(&self, count: usize) -> Vec<Note> {
        self.settle().await;
        let notes = self.platform.notes();
        for _ in 0..400 {
            let found = notes.notes(self.world.clock_rng().now()).await.unwrap();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        notes.notes(self.world.clock_rng().now()).await.unwrap()
    }
}

fn user(id: &str, directory: &str) -> Value {
    json!({ "object": "directory_user", "id": id, "directory_id": directory, "username": id, "state": "active",
        "email": format!("{id}@example.com"), "first_name": "Ada", "last_name": "Lovelace" })
}

#[tokio::test]
async fn r60_a_directory_that_is_deleted_takes_its_people_with_it() {
    let hooks = Hooks::start().await;
    for (id, directory) in [("ada", "directory_1"), ("grace", "directory_1"), ("lin", "directory_2")] {
        hooks.workos("dsync.user.created", 50, user(id, directory)).await;
    }
    let deleted = json!({ "object": "directory", "id": "directory_1", "state": "deleting" });
    assert_eq!(hooks.workos("dsync.deleted", 40, deleted.clone()).await.body, json!({ "accepted": 1 }));
    let active = [hooks.is_active("ada").await, hooks.is_active("grace").await, hooks.is_active("lin").await];
    assert_eq!(active, [false, false, true], "the other directory stays");
    // An event from before the deletion reactivates nobody, even if it arrives late. An event from after the deletion
    // reactivates the person.
    hooks.workos("dsync.user.updated", 45, user("ada", "directory_1")).await;
    assert!(!hooks.is_active("ada").await);
    hooks.workos("dsync.user.created", 30, user("ada", "directory_3")).await;
    assert!(hooks.is_active("ada").await);
    // A second delivery of the deletion changes nothing.
    hooks.workos("dsync.deleted", 40, deleted).await;
    assert!(hooks.is_active("ada").await);
}

#[tokio::test]
async fn r60_a_group_that_is_deleted_ends_its_memberships() {
    let mut sources = sources();
    sources["workos"] = json!({ "members_of": ["a", "b"] });
    let hooks = Hooks::with(&sources).await;
    let added = |id: &str, group: &str| json!({ "user": user(id, "d"), "group": { "id": group }, "id": group });
    hooks.workos("dsync.group.user_added", 50, added("ada", "a")).await;
    hooks.workos("dsync.group.user_added", 49, added("grace", "a")).await;
    hooks.workos("dsync.group.user_added", 48, added("grace", "b")).await;
    hooks.workos("dsync.group.deleted", 40, json!({ "object": "directory_group", "id": "a" })).await;
    assert_eq!([hooks.is_active("ada").await, hooks.is_active("grace").await], [false, true], "one has another group");
    hooks.workos("dsync.group.deleted", 39, json!({ "object": "directory_group", "id": "c" })).await;
    hooks.workos("dsync.group.deleted", 38, json!({ "object": "directory_group", "id": "b" })).await;
    assert!(!hooks.is_active("grace").await);
}

#[tokio::test]
async fn r60_a_late_event_from_before_the_end_gives_nobody_access() {
    let hooks = Hooks::start().await;
    hooks.workos("dsync.deleted", 40, json!({ "object": "directory", "id": "directory_1" })).await;
    hooks.workos("dsync.user.created", 45, user("ada", "directory_1")).await;
    assert!(!hooks.is_active("ada").await, "she was created before the directory was deleted");
    hooks.workos("dsync.user.created", 44, user("lin", "directory_2")).await;
    assert!(hooks.is_active("lin").await, "another directory");

    let mut sources = sources();
    sources["workos"] = json!({ "members_of": ["a", "b"] });
    let hooks = Hooks::with(&sources).await;
    let membership = |group: &str| json!({ "user": user("grace", "d"), "group": { "id": group }, "id": group });
    hooks.workos("dsync.group.user_added", 50, membership("b")).await;
    hooks.workos("dsync.group.deleted", 40, json!({ "object": "directory_group", "id": "a" })).await;
    hooks.workos("dsync.group.user_added", 45, membership("a")).await;
    hooks.workos("dsync.group.user_removed", 30, membership("b")).await;
    assert!(!hooks.is_active("grace").await, "the group ended after she was added to it");
}

#[tokio::test]
async fn r60_a_directory_that_comes_back_brings_its_people_back_with_their_new_memberships() {
    let mut sources = sources();
    sources["workos"] = json!({ "members_of": ["a", "b"] });
    let hooks = Hooks::with(&sources).await;
    let added =
        |group: &str, directory: &str| json!({ "user": user("ada", directory), "group": { "id": group }, "id": group });
    hooks.workos("dsync.group.user_added", 50, added("a", "directory_1")).await;
    hooks.workos("dsync.deleted", 40, json!({ "object": "directory", "id": "directory_1" })).await;
    assert!(!hooks.is_active("ada").await);
    hooks.workos("dsync.user.created", 30, user("ada", "directory_2")).await;
    assert!(!hooks.is_active("ada").await, "the groups of the old directory ended with it");
    hooks.workos("dsync.group.user_added", 29, added("b", "directory_2")).await;
    assert!(hooks.is_active("ada").await);
}

#[tokio::test]
async fn r60_people_whose_directory_is_unknown_stay_and_the_administrator_is_told() {
    let hooks = Hooks::start().await;
    for id in ["ada", "grace"] {
        let mut person = user(id, "");
        person.as_object_mut().unwrap().remove("directory_id");
        hooks.workos("dsync.user.created", 50, person).await;
    }
    hooks.workos("dsync.deleted", 40, json!({ "object": "directory", "id": "directory_of_a_test" })).await;
    assert!(hooks.is_active("ada").await && hooks.is_active("grace").await);
    let notes = hooks.notes(1).await;
    assert_eq!((&*notes[0].route, notes[0].times), ("the end of directory_of_a_test", 2));
    // This event names ada's directory. So the deletion of the directory makes her inactive.
    hooks.workos("dsync.user.updated", 30, user("ada", "directory_1")).await;
    hooks.workos("dsync.deleted", 20, json!({ "object": "directory", "id": "directory_1" })).await;
    assert_eq!([hooks.is_active("ada").await, hooks.is_active("grace").await], [false, true]);
}

#[tokio::test]
async fn r60_so_it_is_for_oktas_groups_and_applications_and_zitadels_organizations() {
    let mut sources = sources();
    sources["okta"] = json!({ "members_of": ["0oa1", "00g1"] });
    let hooks = Hooks::with(&sources).await;
    let okta = async |kind: &str, minutes: i64, target: Value| {
        let event = json!({ "uuid": format!("{kind}-{minutes}"), "published": hooks.minutes_ago(minutes), "eventType": kind,
            "outcome": { "result": "SUCCESS" }, "target": target });
        let reply = hooks.shared("okta", &json!({ "data": { "events": [event] } })).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        hooks.settle().await;
    };
    let ada = json!({ "type": "User", "id": "00u1", "alternateId": "ada@example.com", "displayName": "Ada" });
    for (kind, minutes, target) in [
        ("application.lifecycle.deactivate", 60, json!([{ "type": "AppInstance", "id": "0oa1" }])),
        ("application.lifecycle.delete", 50, json!([{ "type": "AppInstance", "id": "0oa1" }])),
    ] {
        okta("application.user_membership.add", minutes + 5, json!([ada, { "type": "AppInstance", "id": "0oa1" }]))
            .await;
        assert!(hooks.is_active("ada@example.com").await, "{kind}");
        okta(kind, minutes, target).await;
        assert!(!hooks.is_active("ada@example.com").await, "{kind}");
    }
    okta("group.user_membership.add", 40, json!([ada, { "type": "UserGroup", "id": "00g1" }])).await;
    okta("group.lifecycle.delete", 35, json!([{ "type": "UserGroup", "id": "00g2" }])).await;
    assert!(hooks.is_active("ada@example.com").await, "another group");
    okta("group.lifecycle.delete", 30, json!([{ "type": "UserGroup", "id": "00g1" }])).await;
    assert!(!hooks.is_active("ada@example.com").await);

    let minnie = json!({ "userName": "minnie", "firstName": "Minnie", "lastName": "Mouse", "email": "m@example.com" });
    hooks.zitadel("user.human.added", "u1", 1, minnie).await;
    assert!(hooks.is_active("minnie").await);
    hooks.zitadel("org.removed", "org-2", 2, json!({})).await;
    assert!(hooks.is_active("minnie").await, "another organization");
    hooks.zitadel("org.removed", "org-1", 3, json!({})).await;
    assert!(!hooks.is_active("minnie").await);
}

#[tokio::test]
async fn r60_a_changed_profile_in_an_organization_that_ended_brings_nobody_back() {
    let hooks = Hooks::start().await;
    let minnie = json!({ "userName": "minnie", "firstName": "Minnie", "lastName": "Mouse", "email": "m@example.com" });
    hooks.zitadel("user.human.added", "u1", 1, minnie.clone()).await;
    hooks.zitadel("org.deactivated", "org-1", 2, json!({})).await;
    assert!(!hooks.is_active("minnie").await);
    hooks.zitadel("user.human.email.changed", "u1", 3, json!({ "email": "mouse@example.com" })).await;
    hooks.zitadel("user.human.profile.changed", "u1", 4, json!({ "lastName": "Duck" })).await;
    assert!(!hooks.is_active("minnie").await, "a refresh brings nobody back");
    hooks.zitadel("user.reactivated", "u1", 5, minnie).await;
    assert!(hooks.is_active("minnie").await);
}

#[tokio::test]
async fn r60_an_ending_without_its_time_or_its_id_is_a_dead_letter() {
    let hooks = Hooks::start().await;
    for (number, body) in [
        json!({ "event": "dsync.deleted", "data": { "id": "d" }, "created_at": "2026-03-01T12:00:00Z" }),
        json!({ "id": "1", "event": "dsync.deleted", "data": { "id": "d" } }),
        json!({ "id": "2", "event": "dsync.deleted", "data": {}, "created_at": "2026-03-01T12:00:00Z" }),
    ]
    .iter()
    .enumerate()
    {
        hooks.stamped("workos", "workos-signature", 1000, body).await;
        hooks.settle().await;
        assert_eq!(hooks.dead().await.len(), number + 1);
    }
}

#[tokio::test]
async fn r62_a_registration_without_roles_takes_the_roles_back() {
    let mut sources = sources();
    sources["fusionauth"] = json!({ "members_of": ["app-1"] });
    let hooks = Hooks::with(&sources).await;
    let event = async |kind: &str, minutes: i64, roles: Value| {
        let registration = json!({ "applicationId": "app-1", "roles": roles });
        let at = hooks.world.clock_rng().now() - Duration::minutes(minutes);
        let body = json!({ "event": { "id": format!("{kind}{minutes}"), "type": kind,
            "createInstant": i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap(), "registration": registration,
            "user": { "id": "u1", "username": "ada", "email": "ada@example.com", "fullName": "Ada", "active": true } } });
        assert_eq!(hooks.fusionauth(&body).await.status, 202);
        hooks.settle().await;
        hooks.user("ada").await["roles"].clone()
    };
    let roles = event("user.registration.create.complete", 50, json!(["supervisor"])).await;
    assert_eq!(roles, json!(["supervisor"]));
    let roles = event("user.registration.update.complete", 40, json!([])).await;
    assert_eq!(roles, json!(["agent"]), "the default role");
    assert_eq!(event("user.registration.update", 30, json!(["Supervisor"])).await, json!(["supervisor"]));
}

#[tokio::test]
async fn r62_the_roles_of_every_registration_count_and_of_the_changed_one_only_the_new_ones() {
    let mut sources = sources();
    sources["fusionauth"] =
        json!({ "members_of": ["app-1", "app-2"], "role_map": { "lead": "supervisor", "old": "admin" } });
    let hooks = Hooks::with(&sources).await;
    let registration = |id: &str, role: &str| json!({ "applicationId": id, "roles": [role] });
    let body = json!({ "event": { "id": "1", "type": "user.registration.update", "createInstant": hooks.now() * 1000,
        "registration": registration("app-1", "agent"),
        "user": { "id": "u1", "username": "ada", "active": true,
            "registrations": [registration("app-1", "old"), registration("app-2", "lead"), registration("app-3", "old")] } } });
    let events = hooks.queued(hooks.fusionauth(&body).await).await;
    let roles = events[0].profile.unverified_roles.clone().unwrap();
    assert_eq!(
        roles.into_iter().collect::<std::collections::BTreeSet<_>>(),
        ["agent".into(), "supervisor".into()].into()
    );
}

#[tokio::test]
async fn r64_half_a_name_is_merged_with_what_is_known() {
    let hooks = Hooks::start().await;
    let minnie = json!({ "userName": "minnie", "firstName": "Minnie", "lastName": "Mouse", "email": "m@example.com" });
    hooks.zitadel("user.human.added", "u1", 1, minnie).await;
    hooks.zitadel("user.human.profile.changed", "u1", 2, json!({ "lastName": "Duck" })).await;
    assert_eq!(hooks.user("minnie").await["full_name"], "Minnie Duck");
    hooks.zitadel("user.human.profile.changed", "u1", 3, json!({ "firstName": "Daisy" })).await;
    assert_eq!(hooks.user("minnie").await["full_name"], "Daisy Duck");
    hooks.zitadel("user.human.profile.changed", "u1", 4, json!({ "displayName": "Daisy D." })).await;
    assert_eq!(hooks.user("minnie").await["full_name"], "Daisy D.");
}

#[tokio::test]
async fn r65_notices_about_the_feed_itself_reach_the_administrator() {
    let hooks = Hooks::start().await;
    for (count, notice) in [(1, "missed"), (2, "subscriptionRemoved"), (3, "reauthorizationRequired")] {
        let item =
            json!({ "clientState": SECRET, "subscriptionId": "s", "lifecycleEvent": notice, "tenantId": "tenant-1" });
        let reply = hooks.post("graph", &[JSON], json!({ "value": [item] }).to_string()).await;
        assert_eq!(reply.body, json!({ "accepted": 0 }));
        let notes = hooks.notes(count).await;
        let note = notes.iter().find(|note| &*note.route == notice).unwrap();
        assert_eq!((note.noted, &*note.source), (Noted::Ignored, "graph"));
        assert!(!note.reason.is_empty());
    }
    // A sender that does not know the secret cannot cause further notes of this kind. The only new note is about the
    // refused delivery.
    let forged = json!({ "value": [{ "clientState": "guess", "lifecycleEvent": "subscriptionRemoved" }] });
    hooks.post("graph", &[JSON], forged.to_string()).await;
    assert!(hooks.notes(4).await.iter().all(|note| note.noted == Noted::Refused || note.times == 1));
}

#[tokio::test]
async fn r66_a_workos_user_is_read_as_published() {
    let hooks = Hooks::start().await;
    let data = json!({ "object": "directory_user", "id": "directory_user_7", "directory_id": "d", "state": "active",
        "name": "Ada Lovelace", "username": "ada",
        "emails": [{ "value": "private@example.com", "primary": false }, { "value": "ada@example.com", "primary": true }],
        "roles": [{ "slug": "agent" }, { "slug": "supervisor" }], "role": { "slug": "agent" } });
    hooks.workos("dsync.user.created", 50, data).await;
    let ada = hooks.user("ada").await;
    assert_eq!((&ada["email"], &ada["full_name"]), (&json!("ada@example.com"), &json!("Ada Lovelace")));
    assert_eq!(ada["roles"], json!(["agent", "supervisor"]));
}

#[tokio::test]
async fn r67_an_ignored_event_that_matters_is_noted_and_one_that_does_not_is_only_counted() {
    let hooks = Hooks::start().await;
    let event = |kind: &str| json!({ "id": kind, "event": kind, "data": {}, "created_at": "2026-03-01T12:00:00Z" });
    for kind in
        ["organization_membership.deleted", "organization_membership.deleted", "authentication.password_succeeded"]
    {
        let reply = hooks.stamped("workos", "workos-signature", 1000, &event(kind)).await;
        assert_eq!(reply.body, json!({ "accepted": 0 }), "{kind}");
    }
    let clerk = json!({ "type": "organizationMembership.deleted", "data": { "id": "orgmem_1" } });
    hooks.standard("m1", &clerk).await;
    let mut facts: Vec<_> =
        hooks.notes(2).await.into_iter().map(|note| (note.source, note.route, note.times)).collect();
    facts.sort();
    assert_eq!(
        facts,
        [
            ("standard".into(), "organizationMembership.deleted".into(), 1),
            ("workos".into(), "organization_membership.deleted".into(), 1),
        ]
    );
    // The second delivery of this event came within a minute of the first. So Flexgate stored no note for the second
    // delivery, but counts it in the next note.
    hooks.world.advance(Duration::MINUTE).await;
    hooks.stamped("workos", "workos-signature", 1000, &event("organization_membership.deleted")).await;
    hooks.settle().await;
    let notes = hooks.notes(2).await;
    assert_eq!(notes.iter().find(|note| &*note.source == "workos").unwrap().times, 3);
}

#[tokio::test]
async fn r67_every_vendors_ignored_event_that_matters_is_noted() {
    let hooks = Hooks::start().await;
    hooks.fusionauth(&json!({ "event": { "id": "1", "type": "group.member.add" } })).await;
    let zitadel = json!({ "event_type": "org.reactivated", "aggregateID": "1", "resourceOwner": "1", "sequence": 1,
        "created_at": "2026-03-01T12:00:00Z" });
    hooks.stamped("zitadel", "zitadel-signature", 1, &zitadel).await;
    let okta = json!({ "uuid": "1", "eventType": "application.user_membership.change_username", "published": "2026-03-01T12:00:00Z",
        "outcome": { "result": "SUCCESS" }, "target": [] });
    hooks.shared("okta", &json!({ "data": { "events": [okta] } })).await;
    let graph = json!({ "value": [{ "lifecycleEvent": "missed", "clientState": SECRET }] });
    hooks.post("graph", &[JSON], graph.to_string()).await;
    let mut facts: Vec<_> = hooks.notes(4).await.into_iter().map(|note| (note.source, note.route)).collect();
    facts.sort();
    let expected = [
        ("fusionauth", "group.member.add"),
        ("graph", "missed"),
        ("okta", "application.user_membership.change_username"),
        ("zitadel", "org.reactivated"),
    ];
    assert_eq!(facts, expected.map(|(source, route)| (source.into(), route.into())));
}

#[tokio::test]
async fn a_refused_delivery_is_noted_without_what_it_said() {
    let hooks = Hooks::start().await;
    let body = json!({ "type": "user.created", "data": { "id": "u", "email": "ada@example.com" } }).to_string();
    let now = hooks.now().to_string();
    let reply = hooks.post("standard", &standard_headers("m", &now, "v1,AAAA"), body).await;
    assert_eq!(reply.status, 401, "{}", reply.text);
    let notes = hooks.notes(1).await;
    assert_eq!((notes[0].noted, &*notes[0].route), (Noted::Refused, "POST /webhooks/{source}"));
    assert_eq!(&*notes[0].source, "standard");
    assert!(!format!("{notes:?}").contains("ada@example.com"));
    // Anybody can send a delivery to a URL that belongs to no source, so such a delivery causes no note.
    hooks.post("nobody", &[JSON], "{}").await;
    assert_eq!(hooks.notes(2).await.len(), 1);
}

#[tokio::test]
async fn r68_auth0s_prefixed_types_and_clerks_single_role_are_understood() {
    let hooks = Hooks::start().await;
    let body = json!({ "type": "com.auth0.user.created", "id": "1", "time": hooks.minutes_ago(5), "data": { "object": {
        "user_id": "auth0|1", "email": "grace@example.com", "email_verified": true, "name": "Grace" } } });
    let bearer = format!("Bearer {SECRET}");
    let reply = hooks.post("auth0", &[JSON, ("authorization", bearer.as_str())], body.to_string()).await;
    assert_eq!(reply.body, json!({ "accepted": 1 }));
    let mut body = super::clerk("user.created", "ada", hooks.now() * 1000 - 60_000);
    body["data"]["public_metadata"] = json!({ "role": "supervisor" });
    hooks.standard("1", &body).await;
    hooks.settle().await;
    assert!(hooks.is_active("grace@example.com").await);
    assert_eq!(hooks.user("ada").await["roles"], json!(["supervisor"]));
}
