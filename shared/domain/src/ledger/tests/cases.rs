//! Tests the cases of `docs/attack-register.md` that concern the ledger, and the ledger's design rules.

use time::Duration;

use super::model::{Model, flex_user, names, policy, webhook};
use crate::event::{EventId, Moment};
use crate::ledger::{
    Active, AttachmentRefused, Occasion, Plan, RoleReason, Said, Source, Statement, Step, attach, desired,
};
use crate::role::Role;
use crate::user::FlexUser;

fn group(id: &str) -> Source {
    Source::ScimGroup(id.into())
}

#[test]
fn r40_a_role_taken_from_an_inactive_person_does_not_come_back_with_them() {
    let mut model = Model::new(Some(flex_user(&["agent"])));
    model.says_active(&Source::Scim, true);
    model.says_roles(&group("leads"), &["supervisor"]);
    assert_eq!(model.roles(), ["agent", "supervisor"]);
    model.says_active(&Source::Scim, false);
    model.withdraw(&group("leads"));
    model.says_active(&Source::Scim, true);
    assert!(model.is_active());
    assert_eq!(model.roles(), ["agent"]);
}

#[test]
fn r61_a_person_is_active_until_the_last_membership_has_ended() {
    let (mut model, okta) = (Model::new(Some(flex_user(&["agent"]))), webhook("okta"));
    model.says_member(&okta, "a", true);
    model.says_member(&okta, "b", true);
    model.says_member(&okta, "a", false);
    assert!(model.is_active());
    model.says_member(&okta, "b", false);
    assert!(!model.is_active());
}

#[test]
fn r61_a_late_beginning_does_not_revive_a_membership_that_has_ended() {
    let (mut model, okta) = (Model::new(Some(flex_user(&["agent"]))), webhook("okta"));
    model.says_member(&okta, "a", false);
    model.say(&okta, |at, id| Statement {
        memberships: [("a".into(), Said::access(at - Duration::HOUR, id, true))].into(),
        ..Statement::default()
    });
    assert!(!model.is_active());
}

#[test]
fn r61_a_profile_event_never_overrides_an_ended_membership() {
    let (mut model, okta) = (Model::new(Some(flex_user(&["agent"]))), webhook("okta"));
    model.says_member(&okta, "a", true);
    model.says_member(&okta, "a", false);
    model.says_active(&okta, true);
    assert!(!model.is_active());
}

#[test]
fn a_restored_person_is_active_again_only_while_a_membership_remains() {
    let (mut model, okta) = (Model::new(Some(flex_user(&["agent"]))), webhook("okta"));
    let restore = |at, id: &EventId| Statement {
        restored: Some(Moment { at, deactivates: false, id: id.clone() }),
        ..Statement::default()
    };
    model.says_member(&okta, "a", true);
    model.says_active(&okta, false);
    model.says_member(&okta, "b", true);
    assert!(!model.is_active(), "a membership does not lift a suspension");
    model.say(&okta, restore);
    assert!(model.is_active());
    model.says_member(&okta, "a", false);
    model.says_member(&okta, "b", false);
    model.say(&okta, restore);
    assert!(!model.is_active());
}

#[test]
fn r62_a_role_that_its_source_withdraws_falls_to_the_default() {
    for withdrawn in [&[][..], &["unmapped"][..]] {
        let (mut model, clerk) = (Model::new(None), webhook("clerk"));
        model.says_active(&clerk, true);
        model.says_roles(&clerk, &["Supervisor"]);
        assert_eq!(model.roles(), ["supervisor"], "the case of a role's name does not count");
        model.says_roles(&clerk, withdrawn);
        assert_eq!(model.roles(), ["agent"]);
    }
}

#[test]
fn r63_whoever_takes_over_a_username_begins_with_the_default_roles() {
    for left in [false, true] {
        let (mut model, clerk) =
            (Model::new(Some(flex_user(&["agent", "admin", "wfo.full_access"]))), webhook("clerk"));
        assert!(model.names(&clerk, "user_1", &["supervisor"]));
        if left {
            model.says_active(&clerk, false);
        }
        assert_eq!(model.names(&clerk, "user_2", &[]), left, "refused while the earlier person is there");
        assert_eq!(model.roles(), if left { vec!["agent"] } else { vec!["agent", "admin", "wfo.full_access"] });
    }
}

#[test]
fn another_source_that_names_an_inactive_person_is_refused_until_an_operator_decides() {
    let mut model = Model::new(Some(flex_user(&["agent"])));
    model.says_active(&Source::Scim, true);
    model.says_active(&Source::Scim, false);
    let refused = |source: &Source| attach(&model.person, source, None, true);
    assert_eq!(refused(&webhook("hr")), Err(AttachmentRefused::Inactive(Source::Scim)));
    assert!(refused(&Source::Operator).is_ok());
    assert!(attach(&model.person, &webhook("hr"), None, false).is_ok(), "nothing vetoes taking access away");
}

#[test]
fn r70_a_change_of_address_keeps_a_role_that_flexgate_cannot_give() {
    let mut model = Model::new(Some(flex_user(&["agent", "wfo.full_access"])));
    model.says_active(&Source::Scim, true);
    model.say(&Source::Scim, |at, id| Statement {
        email: Some(Said::new(at, id, Some("countess@example.com".parse().unwrap()))),
        full_name: Some(Said::new(at, id, Some("Countess Lovelace".parse().unwrap()))),
        roles: Some(Said::new(at, id, names(&["supervisor"]))),
        ..Statement::default()
    });
    let user = model.flex.clone().unwrap();
    assert_eq!(user.email.as_deref(), Some("countess@example.com"));
    assert_eq!(model.roles(), ["agent", "wfo.full_access"]);
    let plan = model.desired().unwrap().plan(&model.person.username, Some(&user)).unwrap();
    assert_eq!(plan, Plan { step: Step::Nothing, locale: None, blocked: vec!["full_name", "roles"] });
}

#[test]
fn a_role_that_was_taken_and_reappears_is_drift_unless_an_operator_states_it() {
    let mut model = Model::new(Some(flex_user(&["agent"])));
    model.says_active(&Source::Scim, true);
    model.says_roles(&Source::Scim, &["supervisor"]);
    model.says_roles(&Source::Scim, &["agent"]);
    model.flex = Some(flex_user(&["agent", "supervisor"]));
    model.reconcile();
    assert_eq!(model.roles(), ["agent"]);
    model.says_roles(&Source::Operator, &["supervisor"]);
    assert_eq!(model.roles(), ["agent", "supervisor"]);
}

#[test]
fn a_role_that_a_source_names_is_given_even_if_flex_had_it_before() {
    let mut model = Model::new(Some(flex_user(&["agent", "supervisor"])));
    model.says_active(&Source::Scim, true);
    model.says_roles(&Source::Scim, &["supervisor"]);
    model.says_roles(&Source::Scim, &[]);
    assert_eq!(model.roles(), ["agent"], "made by hand and never named");
}

#[test]
fn a_person_without_statements_is_never_touched() {
    let model = Model::new(Some(flex_user(&["admin"])));
    assert_eq!(model.desired(), None);
}

#[test]
fn an_administrator_made_by_hand_stays_one_and_is_not_made_one_again() {
    let mut model = Model::new(Some(flex_user(&["admin"])));
    model.says_active(&Source::Scim, true);
    model.says_roles(&Source::Scim, &["agent", "admin"]);
    assert_eq!(model.roles(), ["agent", "admin"]);
    model.says_active(&Source::Scim, false);
    model.says_active(&Source::Scim, true);
    assert_eq!(model.roles(), ["agent"], "to reactivate with the role would be to give it");
}

#[test]
fn an_operators_deactivation_holds_until_an_operator_lifts_it() {
    let mut model = Model::new(Some(flex_user(&["agent"])));
    model.says_active(&Source::Operator, false);
    model.says_active(&Source::Scim, true);
    model.says_active(&webhook("hr"), true);
    assert!(!model.is_active());
    model.says_active(&Source::Operator, true);
    assert!(model.is_active());
}

#[test]
fn claims_add_a_role_only_while_their_bearer_mints() {
    let issuer = "https://idp.example/";
    let mut model = Model::new(Some(flex_user(&["agent"])));
    let claims = Source::Claims(issuer.into());
    model.says_roles(&claims, &["supervisor"]);
    assert_eq!(model.roles(), ["agent"], "a job adds nothing");
    let now = model.now();
    let minting = Occasion { minting_for: Some(issuer), ..Occasion::at(now) };
    let user = model.flex.clone().unwrap();
    let wanted =
        |occasion: &Occasion<'_>, user: &FlexUser| desired(&model.person, &policy(), Some(user), occasion).unwrap();
    assert!(wanted(&minting, &user).roles.contains(&Role::Supervisor));
    let other = Occasion { minting_for: Some("https://other.example/"), ..minting };
    let reason = wanted(&other, &user).explanation.roles["supervisor"].clone();
    assert!(matches!(reason, RoleReason::ClaimsOnly { .. }));
    let gone = FlexUser { deactivated: Some(true), ..user };
    assert!(!wanted(&minting, &gone).roles.contains(&Role::Supervisor));
    assert_eq!(wanted(&minting, &gone).active, Active::AsInFlex, "claims bring nobody back");
}

#[test]
fn claims_expire_and_their_roles_go() {
    let issuer = "https://idp.example/";
    let mut model = Model::new(Some(flex_user(&["agent"])));
    model.says_roles(&Source::Claims(issuer.into()), &["supervisor"]);
    model.person.given.roles = [Role::Supervisor].into();
    model.flex = Some(flex_user(&["supervisor"]));
    model.minute += 30 * 24 * 60;
    model.reconcile();
    assert_eq!(model.roles(), ["agent"]);
}

#[test]
fn an_explanation_names_the_sources_and_says_who_holds_which_role() {
    let mut model = Model::new(Some(flex_user(&["supervisor", "wfo.full_access"])));
    model.says_active(&Source::Scim, true);
    model.says_active(&webhook("hr"), false);
    model.says_roles(&Source::Scim, &["agent", "admin", "lead"]);
    model.say(&Source::Scim, |at, id| Statement {
        locale: Some(Said::new(at, id, Some("en-gb".into()))),
        ..Statement::default()
    });
    assert!(model.person.active_by().eq([&Source::Scim]));
    assert!(model.person.inactive_by().eq([&webhook("hr")]));
    let desired = model.desired().unwrap();
    assert_eq!(desired.locale, Some(Some("en-gb".into())));
    assert_eq!(desired.explanation.active_by, [Source::Scim].into());
    assert_eq!(desired.explanation.inactive_by, [webhook("hr")].into());
    let held: Vec<_> = desired.explanation.roles.iter().map(|(role, reason)| (&**role, reason.holds())).collect();
    let expected =
        [("admin", false), ("agent", true), ("lead", false), ("supervisor", true), ("wfo.full_access", true)];
    assert_eq!(held, expected);
    assert!(RoleReason::Default.holds());
    assert!(!RoleReason::TakenBack.holds());
}

#[test]
fn a_name_is_never_assembled_from_half_a_name() {
    let (mut model, zitadel) = (Model::new(Some(flex_user(&["agent"]))), webhook("zitadel"));
    model.says_active(&zitadel, true);
    let half = |family: &str| {
        let family = Some(family.parse().unwrap());
        move |at, id: &EventId| Statement { family_name: Some(Said::new(at, id, family)), ..Statement::default() }
    };
    model.say(&zitadel, half("Duck"));
    assert_eq!(model.flex.as_ref().unwrap().full_name.as_deref(), Some("Ada Lovelace"));
    model.say(&zitadel, |at, id| Statement {
        given_name: Some(Said::new(at, id, Some("Minnie".parse().unwrap()))),
        ..Statement::default()
    });
    model.say(&zitadel, half("Mouse"));
    assert_eq!(model.flex.as_ref().unwrap().full_name.as_deref(), Some("Minnie Mouse"));
}

#[test]
fn profile_fields_follow_the_priority_of_the_sources() {
    let (mut model, hr) = (Model::new(Some(flex_user(&["agent"]))), webhook("hr"));
    let email = |address: &str| {
        let address = Some(address.parse().unwrap());
        move |at, id: &EventId| Statement { email: Some(Said::new(at, id, address)), ..Statement::default() }
    };
    model.says_active(&hr, true);
    model.say(&Source::Scim, email("scim@example.com"));
    model.say(&hr, email("hr@example.com"));
    assert_eq!(model.flex.as_ref().unwrap().email.as_deref(), Some("scim@example.com"));
    model.withdraw(&Source::Scim);
    assert_eq!(model.flex.as_ref().unwrap().email.as_deref(), Some("hr@example.com"));
}
