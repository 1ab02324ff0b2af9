//! Tests statements from one source: which of two values is newer, and which value wins.

use time::Duration;

use super::model::{START, names};
use crate::event::{EventId, Moment};
use crate::ledger::{Said, Statement};

#[test]
fn a_time_in_the_future_counts_as_the_time_of_receipt() {
    assert_eq!(Moment::counts_at(START + Duration::DAY, START), START);
    assert_eq!(Moment::counts_at(START - Duration::DAY, START), START - Duration::DAY);
}

#[test]
fn a_request_counts_after_the_one_before_whatever_the_clock_says() {
    let id = |text: &str| text.parse::<EventId>().unwrap();
    let said = |at, cause: &str, active| Statement {
        active: Some(Said::access(at, &id(cause), active)),
        ..Statement::in_full(at, &id(cause))
    };
    let mut all = said(START, "b", false);
    for late in [START, START - Duration::HOUR] {
        let next = said(late, "a", true).made_after(all.latest());
        all.merge(next);
        assert_eq!(all.says_active(), Some(true));
        all = said(START, "b", false);
    }
    let later = said(START + Duration::HOUR, "a", true);
    assert_eq!(later.clone().made_after(all.latest()), later);
}

#[test]
fn a_statement_in_full_voids_only_an_earlier_restoration() {
    let id = EventId::from(1);
    let restored = |hour| Some(Moment { at: START + Duration::hours(hour), deactivates: false, id: id.clone() });
    for (hour, stays) in [(-1, false), (0, true), (1, true)] {
        let mut merged = Statement { restored: restored(hour), ..Statement::default() };
        merged.merge(Statement::in_full(START, &id));
        assert_eq!(merged.restored, restored(hour).filter(|_| stays), "{hour}");
    }
}

#[test]
fn at_one_time_deactivation_wins() {
    let (a, z): (EventId, EventId) = ("a".parse().unwrap(), "z".parse().unwrap());
    let on = Statement { active: Some(Said::access(START, &z, true)), ..Statement::default() };
    let off = Statement { active: Some(Said::access(START, &a, false)), ..Statement::default() };
    for (first, second) in [(&on, &off), (&off, &on)] {
        let mut merged = first.clone();
        merged.merge(second.clone());
        assert_eq!(merged.says_active(), Some(false));
    }
}

#[test]
fn of_a_full_name_and_its_parts_the_later_wins() {
    let said = |hour, name: &str| {
        Some(Said::new(START + Duration::hours(hour), &EventId::from(1), Some(name.parse().unwrap())))
    };
    for (whole, given, family, expected) in
        [(1, 0, 0, "Ada King"), (0, 0, 0, "Ada King"), (1, 0, 2, "Ada Lovelace"), (1, 2, 0, "Ada Lovelace")]
    {
        let statement = Statement {
            full_name: said(whole, "Ada King"),
            given_name: said(given, "Ada"),
            family_name: said(family, "Lovelace"),
            ..Statement::default()
        };
        assert_eq!(statement.says_full_name().unwrap().1.as_str(), expected, "{whole} {given} {family}");
    }
}

#[test]
fn a_source_that_only_names_a_directory_is_silent_unless_the_directory_is_gone() {
    let id = EventId::from(1);
    let directory = |name: Option<&str>| Statement {
        directory: Some(Said::new(START, &id, name.map(Into::into))),
        ..Statement::in_full(START, &id)
    };
    assert!(Statement::in_full(START, &id).is_silent());
    assert!(directory(Some("d")).is_silent());
    assert!(!directory(None).is_silent());
    let active = Some(Said::access(START, &id, true));
    assert!(!Statement { active, ..directory(Some("d")) }.is_silent());
}

#[test]
fn every_field_counts_for_the_latest_moment_and_is_moved_with_the_rest() {
    let at = |hour| START + Duration::hours(hour);
    let id = EventId::from(1);
    let whole = Statement {
        since: Some(Moment { at: at(0), deactivates: false, id: id.clone() }),
        active: Some(Said::access(at(0), &id, true)),
        restored: Some(Moment { at: at(0), deactivates: false, id: id.clone() }),
        memberships: [("g".into(), Said::access(at(0), &id, true))].into(),
        roles: Some(Said::new(at(0), &id, names(&["agent"]))),
        directory: Some(Said::new(at(0), &id, Some("d".into()))),
        email: Some(Said::new(at(0), &id, None)),
        full_name: Some(Said::new(at(0), &id, None)),
        given_name: Some(Said::new(at(0), &id, None)),
        family_name: Some(Said::new(at(0), &id, None)),
        locale: Some(Said::new(at(0), &id, None)),
        attributes: Some(Said::new(at(0), &id, None)),
    };
    let written = serde_json::to_value(&whole).unwrap();
    for field in written.as_object().unwrap().keys() {
        let one: Statement =
            serde_json::from_value([(field.clone(), written[field].clone())].into_iter().collect()).unwrap();
        assert_eq!(one.latest().map(|moment| moment.at), Some(at(0)), "{field}");
        let earlier = Moment { at: at(1), deactivates: false, id: id.clone() };
        let moved = one.made_after(Some(&earlier));
        assert_eq!(moved.latest().map(|moment| moment.at), Some(at(1) + Duration::MICROSECOND), "{field}");
    }
}
