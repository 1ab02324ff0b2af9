//! Property tests of merging and of [`desired`], with arbitrary statements.

use std::collections::BTreeSet;

use proptest::prelude::*;
use time::Duration;

use super::model::{Model, START, flex_user, policy, webhook};
use crate::event::EventId;
use crate::ledger::{Occasion, Said, Source, Statement, desired};
use crate::role::{ObservedRoles, Role};
use crate::user::FlexUser;

fn any_statement() -> impl Strategy<Value = Statement> {
    let moment = || (0_i64..6, "[a-c]");
    let role = prop::sample::select(vec!["agent", "supervisor", "admin", "Supervisor ", "owner"]);
    let roles = prop::option::of((moment(), prop::collection::btree_set(role, 0..3)));
    let active = prop::option::of((moment(), any::<bool>()));
    let memberships = prop::collection::btree_map("[xy]", (moment(), any::<bool>()), 0..3);
    let email = prop::option::of((moment(), prop::option::of("[a-b]@example\\.com")));
    let since = prop::option::weighted(0.2, moment());
    (since, active, memberships, roles, email).prop_map(|(since, active, memberships, roles, email)| {
        let at = |minute: i64| START + Duration::minutes(minute);
        let id = |text: &str| text.parse::<EventId>().unwrap();
        let mut statement = since.map_or_else(Statement::default, |(m, i)| Statement::in_full(at(m), &id(&i)));
        statement.merge(Statement {
            active: active.map(|((m, i), value)| Said::access(at(m), &id(&i), value)),
            memberships: memberships
                .into_iter()
                .map(|(group, ((m, i), value))| (group.into(), Said::access(at(m), &id(&i), value)))
                .collect(),
            roles: roles.map(|((m, i), names)| {
                Said::new(at(m), &id(&i), names.into_iter().map(Into::into).collect::<BTreeSet<_>>())
            }),
            email: email.map(|((m, i), email)| Said::new(at(m), &id(&i), email.map(|email| email.parse().unwrap()))),
            ..Statement::default()
        });
        statement
    })
}

fn any_source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![
        Source::Scim,
        Source::ScimGroup("g".into()),
        Source::Claims("https://idp.example/".into()),
        webhook("hr"),
        Source::Api,
        Source::Operator,
    ])
}

fn any_user() -> impl Strategy<Value = Option<FlexUser>> {
    let role = prop::sample::select(vec!["agent", "supervisor", "admin", "wfo.full_access"]);
    let roles = prop::collection::btree_set(role, 1..4);
    prop::option::of((roles, any::<bool>()).prop_map(|(roles, deactivated)| {
        let roles: Vec<_> = roles.into_iter().collect();
        FlexUser { deactivated: Some(deactivated), ..flex_user(&roles) }
    }))
}

fn said(statements: &[(Source, Statement)], flex: Option<&FlexUser>) -> Model {
    let mut model = Model::new(flex.cloned());
    for (source, statement) in statements {
        model.person.statements.entry(source.clone()).or_default().merge(statement.clone());
    }
    model
}

fn shown(user: Option<&FlexUser>) -> BTreeSet<Role> {
    user.and_then(|user| user.roles.as_ref()).map(ObservedRoles::known).cloned().unwrap_or_default()
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        a in any_statement(), b in any_statement(), c in any_statement()
    ) {
        let merged = |parts: &[&Statement]| parts.iter().fold(Statement::default(), |mut all, part| {
            all.merge((*part).clone());
            all
        });
        prop_assert_eq!(merged(&[&a, &b, &c]), merged(&[&c, &b, &a]));
        prop_assert_eq!(merged(&[&a, &merged(&[&b, &c])]), merged(&[&merged(&[&a, &b]), &c]));
        prop_assert_eq!(merged(&[&a, &a]), merged(&[&a]));
    }

    #[test]
    fn neither_the_order_of_statements_nor_a_repetition_matters(
        statements in prop::collection::vec((any_source(), any_statement()), 1..8),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        user in any_user(),
    ) {
        let mut other: Vec<_> = statements.iter().rev().cloned().collect();
        other.extend(again.iter().map(|index| index.get(&statements).clone()));
        let of = |statements: &[(Source, Statement)]| {
            let model = said(statements, user.as_ref());
            desired(&model.person, &policy(), user.as_ref(), &Occasion::at(START + Duration::HOUR))
        };
        prop_assert_eq!(of(&statements), of(&other));
    }

    #[test]
    fn no_role_is_added_that_the_policy_forbids(
        statements in prop::collection::vec((any_source(), any_statement()), 1..8), user in any_user(),
    ) {
        let mut model = said(&statements, user.as_ref());
        let had = shown(user.as_ref());
        model.reconcile();
        let added: BTreeSet<_> = shown(model.flex.as_ref()).difference(&had).copied().collect();
        prop_assert!(added.is_subset(&policy().allowed_roles), "added {:?}", added);
        // Reactivation must not restore a role that the policy forbids.
        if user.as_ref().is_some_and(FlexUser::is_deactivated) && model.is_active() {
            prop_assert!(shown(model.flex.as_ref()).is_subset(&policy().allowed_roles));
        }
    }

    #[test]
    fn reconciling_twice_changes_nothing_more(
        statements in prop::collection::vec((any_source(), any_statement()), 1..8), user in any_user(),
    ) {
        let mut model = said(&statements, user.as_ref());
        model.reconcile();
        let once = (model.flex.clone(), model.person.given.clone());
        model.reconcile();
        prop_assert_eq!(once, (model.flex, model.person.given));
    }

    #[test]
    fn withdrawing_a_source_leaves_what_the_others_say_and_what_was_made_by_hand(
        others in prop::collection::vec((any_source(), any_statement()), 1..6),
        source in any_source(),
        statement in any_statement(),
        user in any_user(),
    ) {
        prop_assume!(others.iter().all(|(other, _)| *other != source));
        // The test does not withdraw an issuer's claims. Claims add roles only during a mint, and nobody mints here, so
        // the claims have added no roles that a withdrawal could remove.
        prop_assume!(source.kind() != crate::ledger::SourceKind::Claims);
        let user = user.map(|user| FlexUser { deactivated: Some(false), ..user });
        let mut without = said(&others, user.as_ref());
        without.reconcile();
        let mut with = said(&others, user.as_ref());
        with.person.statements.insert(source.clone(), Statement { active: None, memberships: [].into(), ..statement.clone() });
        with.reconcile();
        with.minute = 59;
        with.withdraw(&source);
        // If the withdrawn source named a role that the user already had in Flex, its withdrawal removes that role. The
        // user can then get the default roles. All other roles must be as if the source had never made a statement.
        let named: BTreeSet<Role> = statement
            .roles
            .iter()
            .flat_map(|said| &said.value)
            .filter_map(|name| name.trim().to_lowercase().parse().ok())
            .collect();
        let (with_roles, without_roles) = (shown(with.flex.as_ref()), shown(without.flex.as_ref()));
        let differ: BTreeSet<_> = with_roles.symmetric_difference(&without_roles).copied().collect();
        let by_default = policy().default_roles.clone();
        prop_assert!(
            differ.iter().all(|role| named.contains(role) || by_default.contains(role)),
            "{:?} against {:?}", with_roles, without_roles
        );
        if named.is_empty() {
            prop_assert_eq!(with_roles, without_roles);
        }
    }
}
