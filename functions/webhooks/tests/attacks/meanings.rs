//! Tests the meaning of each type of event that a vendor sends.

use flexgate::domain::Action;

use super::*;

/// One entry for each type of event: the type, a value in the event that may change the meaning (such as a state or a
/// group), and the expected action. `None` means that Flexgate ignores the event.
type Meanings<'a> = &'a [(&'a str, &'a str, Option<Action>)];

/// Configures `source` and sends one event for each entry, each about a different person. Asserts that each event has
/// the expected action.
async fn check(
    source: &str,
    settings: Value,
    meanings: Meanings<'_>,
    send: impl AsyncFn(&Hooks, &str, &str, &str) -> Reply,
) {
    let mut all = sources();
    all[source] = settings;
    let hooks = Hooks::with(&all).await;
    for (number, (kind, state, expected)) in meanings.iter().enumerate() {
        let reply = send(&hooks, kind, state, &format!("p{number}")).await;
        let actions: Vec<_> = hooks.queued(reply).await.iter().map(|event| event.action).collect();
        assert_eq!(actions, expected.iter().copied().collect::<Vec<_>>(), "{kind} {state}");
    }
}

async fn okta(hooks: &Hooks, kind: &str, group: &str, person: &str) -> Reply {
    let event = json!({ "uuid": person, "published": "2026-03-01T12:00:00.000Z", "eventType": kind,
        "outcome": { "result": "SUCCESS" },
        "target": [{ "id": person, "type": "User", "alternateId": "ada@example.com", "displayName": "Ada Lovelace" },
                   { "id": group, "type": "UserGroup" }] });
    hooks.shared("okta", &json!({ "data": { "events": [event] } })).await
}

#[tokio::test]
async fn oktas_events_mean_what_happened_to_the_account() {
    let ends =
        ["deactivate", "suspend", "delete.initiated", "delete.completed"].map(|end| format!("user.lifecycle.{end}"));
    let ends: Vec<_> = ends.iter().map(|kind| (kind.as_str(), "", Some(Action::Deactivate))).collect();
    let everybody = [
        ("user.lifecycle.create", "", Some(Action::Upsert)),
        ("user.lifecycle.activate", "", Some(Action::Upsert)),
        ("user.lifecycle.reactivate", "", Some(Action::Upsert)),
        ("user.lifecycle.unsuspend", "", Some(Action::Upsert)),
        ("user.account.update_profile", "", Some(Action::Refresh)),
        ("group.user_membership.add", "00g_flex", None),
    ];
    check("okta", json!({}), &[&everybody[..], &ends].concat(), okta).await;
    let members = [
        ("user.lifecycle.create", "", None),
        ("user.lifecycle.activate", "", Some(Action::Restore)),
        ("user.lifecycle.reactivate", "", Some(Action::Restore)),
        ("user.lifecycle.unsuspend", "", Some(Action::Restore)),
        ("user.account.update_profile", "", Some(Action::Refresh)),
        ("group.user_membership.add", "00g_flex", Some(Action::Upsert)),
        ("group.user_membership.remove", "00g_flex", Some(Action::Deactivate)),
        ("application.user_membership.add", "00g_flex", Some(Action::Upsert)),
        ("application.user_membership.remove", "00g_flex", Some(Action::Deactivate)),
        ("group.user_membership.add", "00g_other", None),
        ("group.user_membership.remove", "00g_other", None),
    ];
    check("okta", json!({ "members_of": ["00g_flex"] }), &[&members[..], &ends].concat(), okta).await;
}

async fn workos(hooks: &Hooks, kind: &str, state: &str, person: &str) -> Reply {
    let user = json!({ "id": person, "directory_id": "directory_1", "email": "ada@example.com", "first_name": "Ada",
        "last_name": "Lovelace", "state": if state.is_empty() { Value::Null } else { state.into() } });
    let data = if kind.starts_with("dsync.group") {
        json!({ "directory_id": "directory_1", "user": user, "group": { "id": "group_1" } })
    } else {
        user
    };
    let body = json!({ "id": person, "event": kind, "data": data, "created_at": "2026-03-01T12:00:00.000Z" });
    hooks.stamped("workos", "workos-signature", 1000, &body).await
}

#[tokio::test]
async fn workos_events_mean_what_the_state_says() {
    let everybody = [
        ("dsync.user.created", "active", Some(Action::Upsert)),
        ("dsync.user.created", "inactive", Some(Action::Deactivate)),
        ("dsync.user.updated", "active", Some(Action::Upsert)),
        ("dsync.user.updated", "inactive", Some(Action::Deactivate)),
        ("dsync.user.deleted", "active", Some(Action::Deactivate)),
        ("dsync.group.user_added", "active", None),
        ("dsync.group.user_removed", "active", None),
    ];
    check("workos", json!({}), &everybody, workos).await;
    let members = [
        ("dsync.user.created", "active", Some(Action::Refresh)),
        ("dsync.user.created", "inactive", Some(Action::Deactivate)),
        ("dsync.user.updated", "active", Some(Action::Restore)),
        ("dsync.user.updated", "", Some(Action::Refresh)),
        ("dsync.user.updated", "inactive", Some(Action::Deactivate)),
        ("dsync.user.deleted", "active", Some(Action::Deactivate)),
        ("dsync.group.user_added", "active", Some(Action::Upsert)),
        ("dsync.group.user_added", "inactive", None),
        ("dsync.group.user_removed", "active", Some(Action::Deactivate)),
    ];
    check("workos", json!({ "members_of": ["group_1"] }), &members, workos).await;
}

async fn fusionauth(hooks: &Hooks, kind: &str, state: &str, person: &str) -> Reply {
    let registration = |id: &str| json!({ "applicationId": id, "roles": [] });
    let (active, registered) = (state != "inactive", if state == "other" { "app-2" } else { "app-1" });
    let mut event = json!({ "id": person, "type": kind, "createInstant": 1_772_366_400_000_i64,
        "user": { "id": person, "username": "ada", "active": active, "registrations": [registration(registered)] } });
    if kind.starts_with("user.registration.") {
        event["registration"] = registration(registered);
    }
    hooks.fusionauth(&json!({ "event": event })).await
}

#[tokio::test]
async fn fusionauths_events_mean_what_the_registration_says() {
    let ends =
        ["user.deactivate", "user.delete", "user.delete.complete"].map(|kind| (kind, "", Some(Action::Deactivate)));
    let everybody = [
        ("user.create.complete", "", Some(Action::Upsert)),
        ("user.create.complete", "inactive", Some(Action::Deactivate)),
        ("user.update.complete", "", Some(Action::Upsert)),
        ("user.update.complete", "inactive", Some(Action::Deactivate)),
        ("user.reactivate", "", Some(Action::Upsert)),
        ("user.registration.create", "", None),
    ];
    check("fusionauth", json!({}), &[&everybody[..], &ends].concat(), fusionauth).await;
    let members = [
        ("user.create.complete", "", Some(Action::Refresh)),
        ("user.update.complete", "", Some(Action::Refresh)),
        ("user.update.complete", "inactive", Some(Action::Deactivate)),
        ("user.reactivate", "", Some(Action::Upsert)),
        ("user.reactivate", "other", None),
        ("user.registration.create", "", Some(Action::Upsert)),
        ("user.registration.create.complete", "", Some(Action::Upsert)),
        ("user.registration.create", "inactive", None),
        ("user.registration.create", "other", None),
        ("user.registration.update", "", Some(Action::Refresh)),
        ("user.registration.update.complete", "", Some(Action::Refresh)),
        ("user.registration.update", "other", None),
        ("user.registration.delete", "", Some(Action::Deactivate)),
        ("user.registration.delete.complete", "", Some(Action::Deactivate)),
        ("user.registration.delete", "other", None),
    ];
    let settings = json!({ "members_of": ["app-1"] });
    check("fusionauth", settings, &[&members[..], &ends].concat(), fusionauth).await;
}

async fn zitadel(hooks: &Hooks, kind: &str, _state: &str, person: &str) -> Reply {
    let body = json!({ "aggregateID": person, "resourceOwner": "1", "sequence": 7, "event_type": kind,
        "created_at": "2026-03-01T12:00:00.123456Z", "event_payload": {} });
    hooks.stamped("zitadel", "zitadel-signature", 1, &body).await
}

#[tokio::test]
async fn zitadels_events_mean_what_happened_to_the_user() {
    let meanings = [
        ("user.human.added", "", Some(Action::Upsert)),
        ("user.human.selfregistered", "", Some(Action::Upsert)),
        ("user.reactivated", "", Some(Action::Upsert)),
        ("user.unlocked", "", Some(Action::Upsert)),
        ("user.human.profile.changed", "", Some(Action::Refresh)),
        ("user.human.email.changed", "", Some(Action::Refresh)),
        ("user.deactivated", "", Some(Action::Deactivate)),
        ("user.locked", "", Some(Action::Deactivate)),
        ("user.removed", "", Some(Action::Deactivate)),
    ];
    check("zitadel", json!({}), &meanings, zitadel).await;
}
