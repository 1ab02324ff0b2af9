//! Tests how the claims of a token change a Flex user during a mint.

use super::model::{START, flex_user, names, policy};
use crate::event::EventId;
use crate::ledger::{Occasion, Person, PersonId, Plan, PlanRefused, Said, Source, Statement, Step, desired};
use crate::role::Role;
use crate::user::{DesiredUser, FlexUser};

const ISSUER: &str = "https://idp.example/";

/// Returns claims with a verified e-mail address, a full name and these roles. If `roles` is empty, the claims do not
/// mention roles at all.
fn claims(roles: &[&str]) -> Statement {
    let id = EventId::from(1);
    Statement {
        roles: (!roles.is_empty()).then(|| Said::new(START, &id, names(roles))),
        email: Some(Said::new(START, &id, Some("ada@example.com".parse().unwrap()))),
        full_name: Some(Said::new(START, &id, Some("Ada Lovelace".parse().unwrap()))),
        ..Statement::in_full(START, &id)
    }
}

/// Returns the plan for `user` during a mint. The only statement about the person is `claims`, from the issuer of the
/// person's token.
fn plan(claims: Statement, user: &FlexUser) -> Result<Plan, PlanRefused> {
    let mut person = Person::new(PersonId::of([1; 16]), user.username.clone());
    person.statements.insert(Source::Claims(ISSUER.into()), claims);
    let occasion = Occasion { minting_for: Some(ISSUER), ..Occasion::at(START) };
    desired(&person, &policy(), Some(user), &occasion).unwrap().plan(&user.username, Some(user))
}

fn follows(claims: Statement, user: &FlexUser) -> Step {
    plan(claims, user).unwrap().step
}

#[track_caller]
fn provisioned(step: Step) -> DesiredUser {
    match step {
        Step::Provision(user) => user,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_user_follows_the_claims_and_is_never_demoted_by_accident() {
    assert_eq!(follows(claims(&[]), &flex_user(&["agent"])), Step::Nothing);

    // Claims without roles do not change the user's roles. Roles from claims are added to the roles that were set by
    // hand.
    assert_eq!(follows(claims(&[]), &flex_user(&["supervisor"])), Step::Nothing);
    let roles = provisioned(follows(claims(&["agent"]), &flex_user(&["supervisor"]))).roles;
    assert_eq!(roles, [Role::Agent, Role::Supervisor].into());
    assert_eq!(follows(claims(&["agent"]), &flex_user(&["agent"])), Step::Nothing);

    // Claims that name a forbidden role change nothing, whether or not the user has the role.
    assert_eq!(follows(claims(&["admin"]), &flex_user(&["admin"])), Step::Nothing);
    assert_eq!(follows(claims(&["admin"]), &flex_user(&["agent"])), Step::Nothing);
    let blocked = plan(claims(&["agent"]), &flex_user(&["supervisor", "wfo.full_access"])).unwrap();
    assert_eq!((blocked.step, blocked.blocked), (Step::Nothing, vec!["roles"]));
    let renamed = FlexUser { full_name: Some("A. Byron".into()), ..flex_user(&["admin"]) };
    let renamed = provisioned(follows(claims(&[]), &renamed));
    assert_eq!((renamed.full_name.as_str(), renamed.roles), ("Ada Lovelace", [Role::Admin].into()));

    // Missing or unverified claims change nothing.
    let silent = Statement { email: None, full_name: None, ..claims(&[]) };
    let other = FlexUser { email: Some("old@example.com".into()), ..flex_user(&["agent"]) };
    assert_eq!(follows(silent, &other), Step::Nothing);
    assert_eq!(provisioned(follows(claims(&[]), &other)).email.as_str(), "ada@example.com");

    // Claims reactivate nobody.
    assert_eq!(follows(claims(&["supervisor"]), &FlexUser { deactivated: Some(true), ..other }), Step::Nothing);
}
