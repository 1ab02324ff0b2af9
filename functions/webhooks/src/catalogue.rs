//! Lists each vendor's event types and what they do. A test compares the list with the tables in `docs/webhooks.md`.

/// Some event types with the same effect.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The types, as the vendor spells them.
    pub(crate) types: &'static [&'static str],
    /// What Flexgate does.
    pub(crate) effect: Effect,
    /// The effect in words, for administrators.
    pub(crate) text: &'static str,
}

/// What Flexgate does with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The event changes one person.
    Person,
    /// A group or an application was deleted or deactivated, so all its memberships end.
    EndsMembership,
    /// A directory or an organisation was deleted or deactivated, so all its people become inactive.
    EndsDirectory,
    /// Flexgate ignores the event, although access may have changed. A note warns the administrator.
    Ignored,
}

/// Returns the row of an event type. `None` means that Flexgate does not use the type.
pub(crate) fn find(rows: &'static [Row], kind: &str) -> Option<&'static Row> {
    rows.iter().find(|row| row.types.contains(&kind))
}

const fn row(types: &'static [&'static str], effect: Effect, text: &'static str) -> Row {
    Row { types, effect, text }
}

use Effect::{EndsDirectory, EndsMembership, Ignored, Person};

/// Clerk (<https://clerk.com/docs/webhooks/overview>).
pub(crate) const STANDARD: &[Row] = &[
    row(
        &["user.created", "user.updated"],
        Person,
        "upsert; deactivate if `banned` or `locked` is true, or `active` is false",
    ),
    row(&["user.deleted"], Person, "deactivate"),
    row(
        &["organizationMembership.created", "organizationMembership.updated", "organizationMembership.deleted"],
        Ignored,
        "Flexgate does not read organizations. Put roles into `public_metadata.roles`, and delete or ban people who leave",
    ),
    row(&["organization.deleted"], Ignored, "its members stay Flex users until you delete or ban them"),
    row(
        &["session.ended", "session.removed", "session.revoked"],
        Ignored,
        "a session at Clerk is not a session in Flexgate. Delete or ban the user to end their access",
    ),
];

/// Okta event types for event hooks (<https://developer.okta.com/docs/reference/api/event-types/>).
pub(crate) const OKTA: &[Row] = &[
    row(&["user.lifecycle.create"], Person, "upsert; nothing with `members_of`"),
    row(
        &["user.lifecycle.activate", "user.lifecycle.reactivate", "user.lifecycle.unsuspend"],
        Person,
        "upsert; with `members_of`, end a suspension",
    ),
    row(
        &[
            "user.lifecycle.deactivate",
            "user.lifecycle.suspend",
            "user.lifecycle.delete.initiated",
            "user.lifecycle.delete.completed",
        ],
        Person,
        "deactivate",
    ),
    row(&["user.account.update_profile"], Person, "refresh"),
    row(
        &["application.user_membership.add", "group.user_membership.add"],
        Person,
        "upsert, if `members_of` contains the application or group",
    ),
    row(
        &["application.user_membership.remove", "group.user_membership.remove"],
        Person,
        "end this membership, if `members_of` contains the application or group; deactivate after the last one",
    ),
    row(
        &["group.lifecycle.delete", "application.lifecycle.deactivate", "application.lifecycle.delete"],
        EndsMembership,
        "end everybody's membership, if `members_of` contains the application or group",
    ),
    row(
        &["application.lifecycle.activate"],
        Ignored,
        "people who were already assigned to the application become active again only with their next event. Assign \
         them again, or use SCIM",
    ),
    row(
        &["group.application_assignment.remove", "group.application_assignment.add"],
        Ignored,
        "Okta reports each person in the group separately, as an application membership",
    ),
    row(&["application.user_membership.change_username"], Ignored, "a Flex user keeps its username"),
    row(
        &["user.account.lock", "user.account.unlock"],
        Ignored,
        "a lock after wrong passwords ends automatically. Suspend the user to end their access",
    ),
    row(
        &["user.session.clear", "user.session.end"],
        Ignored,
        "a session at Okta is not a session in Flexgate. Suspend or deactivate the user to end their access",
    ),
];

/// Auth0 event streams (<https://auth0.com/docs/customize/events/event-types>). The types may have the prefix
/// `com.auth0.`.
pub(crate) const AUTH0: &[Row] = &[
    row(&["user.created", "user.updated"], Person, "upsert; deactivate if `blocked` is true"),
    row(&["user.deleted"], Person, "deactivate"),
    row(
        &[
            "organization.member.added",
            "organization.member.deleted",
            "organization.member.role.assigned",
            "organization.member.role.deleted",
            "organization.deleted",
        ],
        Ignored,
        "Flexgate does not read organizations. Put roles into `app_metadata.roles`, and block people who leave",
    ),
    row(
        &["group.member.added", "group.member.deleted", "group.role.assigned", "group.role.deleted", "group.deleted"],
        Ignored,
        "Flexgate does not read Auth0's groups. Put roles into `app_metadata.roles`, and block people who leave",
    ),
    row(
        &["connection.deleted"],
        Ignored,
        "Auth0 deletes the users of the connection, and sends a separate event for each",
    ),
];

/// WorkOS (<https://workos.com/docs/events>).
pub(crate) const WORKOS: &[Row] = &[
    row(&["dsync.user.created"], Person, "upsert; with `members_of`, refresh. Deactivate if `state` is `inactive`"),
    row(
        &["dsync.user.updated"],
        Person,
        "upsert; with `members_of`, refresh and end a suspension. Deactivate if `state` is `inactive`",
    ),
    row(&["dsync.user.deleted"], Person, "deactivate"),
    row(&["dsync.group.user_added"], Person, "upsert, if `members_of` contains the group"),
    row(
        &["dsync.group.user_removed"],
        Person,
        "end this membership, if `members_of` contains the group; deactivate after the last one",
    ),
    row(&["dsync.group.deleted"], EndsMembership, "end everybody's membership, if `members_of` contains the group"),
    row(&["dsync.deleted", "dsync.deactivated"], EndsDirectory, "deactivate everybody in the directory"),
    row(
        &["user.deleted", "organization_membership.deleted", "organization_membership.updated", "organization.deleted"],
        Ignored,
        "Flexgate reads directories, not AuthKit's users and organizations",
    ),
    row(
        &["connection.deactivated", "connection.deleted"],
        Ignored,
        "people who sign in through this connection stay Flex users until the directory removes them",
    ),
    row(&["session.revoked"], Ignored, "a session at WorkOS is not a session in Flexgate"),
];

/// FusionAuth (<https://fusionauth.io/docs/extend/events-and-webhooks/events/>).
pub(crate) const FUSIONAUTH: &[Row] = &[
    row(
        &["user.create.complete", "user.update.complete"],
        Person,
        "upsert; with `members_of`, refresh. Deactivate if `active` is false",
    ),
    row(
        &["user.reactivate"],
        Person,
        "upsert; with `members_of`, only if the person has a registration in one of the listed applications",
    ),
    row(&["user.deactivate", "user.delete", "user.delete.complete"], Person, "deactivate"),
    row(
        &["user.registration.create", "user.registration.create.complete"],
        Person,
        "upsert, if `members_of` contains the application",
    ),
    row(
        &["user.registration.update", "user.registration.update.complete"],
        Person,
        "refresh, if `members_of` contains the application; an empty list of roles takes the roles away",
    ),
    row(
        &["user.registration.delete", "user.registration.delete.complete"],
        Person,
        "end this membership, if `members_of` contains the application; deactivate after the last one",
    ),
    row(&["user.bulk.create"], Ignored, "the event does not make Flex users. Import them: `flexgate users import`"),
    row(
        &["group.member.add", "group.member.remove", "group.member.update", "group.delete", "group.update"],
        Ignored,
        "Flexgate reads roles from registrations, not from groups",
    ),
    row(&["user.action"], Ignored, "an action such as a temporary ban does not end access. Deactivate the user"),
];

/// Zitadel's event types about users and organizations (<https://zitadel.com/docs/apis/introduction>).
pub(crate) const ZITADEL: &[Row] = &[
    row(&["user.human.added", "user.human.selfregistered", "user.reactivated", "user.unlocked"], Person, "upsert"),
    row(&["user.human.profile.changed", "user.human.email.changed"], Person, "refresh"),
    row(&["user.deactivated", "user.locked", "user.removed"], Person, "deactivate"),
    row(&["org.removed", "org.deactivated"], EndsDirectory, "deactivate everybody in the organization"),
    row(
        &["org.reactivated"],
        Ignored,
        "this event reactivates nobody. Reactivate the people, or provision them again with `flexgate users import`",
    ),
    row(&["instance.removed"], Ignored, "remove the source. See `flexgate users sources`"),
    row(&["user.username.changed", "user.domain.claimed"], Ignored, "a Flex user keeps its username"),
    row(
        &[
            "user.grant.added",
            "user.grant.changed",
            "user.grant.cascade.changed",
            "user.grant.removed",
            "user.grant.cascade.removed",
            "user.grant.deactivated",
            "user.grant.reactivated",
        ],
        Ignored,
        "Zitadel's webhooks do not contain the names of roles. Take roles from the tokens: `roles_claim`",
    ),
];

/// Microsoft Graph change notifications
/// (<https://learn.microsoft.com/graph/change-notifications-lifecycle-events>).
pub(crate) const GRAPH: &[Row] = &[
    row(
        &["created", "updated"],
        Person,
        "look the person up: deactivate if Graph shows no such user or a disabled one, otherwise refresh. Without a credential for Graph, do nothing",
    ),
    row(&["deleted"], Person, "deactivate the user who is bound to the deleted account"),
    row(&["subscriptionRemoved"], Ignored, "Graph no longer sends notifications. Create the subscription again"),
    row(&["reauthorizationRequired"], Ignored, "Graph will soon stop sending notifications. Renew the subscription"),
    row(&["missed"], Ignored, "Graph could not deliver everything. Check whether anybody has left in the meantime"),
];

/// Security events of the Shared Signals Framework (<https://openid.net/specs/openid-caep-1_0-final.html>,
/// <https://openid.net/specs/openid-risc-1_0-final.html>).
pub(crate) const SSF: &[Row] = &[
    row(&["https://schemas.openid.net/secevent/caep/event-type/session-revoked"], Person, "end the person's sessions"),
    row(&["https://schemas.openid.net/secevent/risc/event-type/sessions-revoked"], Person, "end the person's sessions"),
    row(
        &["https://schemas.openid.net/secevent/caep/event-type/credential-change"],
        Person,
        "end the person's sessions if `change_type` is `revoke`; otherwise do nothing",
    ),
    row(
        &["https://schemas.openid.net/secevent/caep/event-type/device-compliance-change"],
        Person,
        "end the person's sessions if `current_status` is `not-compliant`; otherwise do nothing",
    ),
    row(
        &[
            "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
            "https://schemas.openid.net/secevent/risc/event-type/account-purged",
        ],
        Person,
        "deactivate, and end the person's sessions",
    ),
    row(
        &["https://schemas.openid.net/secevent/risc/event-type/account-enabled"],
        Person,
        "this source no longer says that the person is inactive; another source may bring the person back",
    ),
    row(
        &["https://schemas.openid.net/secevent/ssf/event-type/verification"],
        Person,
        "answer 202, and log that the stream works",
    ),
    row(
        &["https://schemas.openid.net/secevent/ssf/event-type/stream-updated"],
        Ignored,
        "the transmitter may have paused or disabled the stream. Check the stream's status at the transmitter",
    ),
    row(
        &[
            "https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required",
            "https://schemas.openid.net/secevent/risc/event-type/credential-compromise",
        ],
        Ignored,
        "the person's sessions continue. To end them, add the type to `events`",
    ),
    row(
        &[
            "https://schemas.openid.net/secevent/risc/event-type/identifier-changed",
            "https://schemas.openid.net/secevent/risc/event-type/identifier-recycled",
        ],
        Ignored,
        "a Flex user keeps its username",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;
    use crate::settings::Kind;

    /// The rows for a kind of source. `None` stands for the kind `ssf`.
    fn of(kind: Option<Kind>) -> &'static [Row] {
        let Some(kind) = kind else { return SSF };
        match kind {
            Kind::Standard => STANDARD,
            Kind::Okta => OKTA,
            Kind::Auth0 => AUTH0,
            Kind::Workos => WORKOS,
            Kind::Fusionauth => FUSIONAUTH,
            Kind::Zitadel => ZITADEL,
            Kind::Graph => GRAPH,
            Kind::Generic => &[],
        }
    }

    const KINDS: [(&str, Option<Kind>); 8] = [
        ("standard", Some(Kind::Standard)),
        ("okta", Some(Kind::Okta)),
        ("auth0", Some(Kind::Auth0)),
        ("workos", Some(Kind::Workos)),
        ("fusionauth", Some(Kind::Fusionauth)),
        ("zitadel", Some(Kind::Zitadel)),
        ("graph", Some(Kind::Graph)),
        ("ssf", None),
    ];

    /// Compares the tables in `docs/webhooks.md` with the catalogue. `UPDATE=1` rewrites the tables instead.
    #[test]
    fn the_documentation_lists_every_event_type() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/webhooks.md");
        let mut page = std::fs::read_to_string(&path).unwrap();
        for (name, kind) in KINDS {
            let mut table = String::from("| event type | what Flexgate does |\n|---|---|\n");
            for row in of(kind) {
                let types: Vec<_> = row.types.iter().map(|one| format!("`{one}`")).collect();
                let ignored = if row.effect == Effect::Ignored { "**ignored, with a warning:** " } else { "" };
                writeln!(table, "| {} | {ignored}{} |", types.join(", "), row.text).unwrap();
            }
            let (begin, end) = (format!("<!-- events of {name} -->\n"), format!("<!-- end of {name} -->"));
            let from = page.find(&begin).unwrap_or_else(|| panic!("{name}: no table")) + begin.len();
            let to = page.find(&end).unwrap();
            page.replace_range(from..to, &table);
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, page).unwrap();
        } else {
            assert!(page == std::fs::read_to_string(&path).unwrap(), "run: UPDATE=1 cargo test -p flexgate-webhooks");
        }
    }

    #[test]
    fn every_type_has_one_row() {
        for (name, kind) in KINDS {
            let mut seen = BTreeSet::new();
            for one in of(kind).iter().flat_map(|row| row.types) {
                assert!(seen.insert(one), "{name}: {one}");
            }
        }
    }
}
