//! Runs each scenario in many schedules. If a schedule leads to a wrong result, prints what happened.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use flexgate_simulation::interleave::{Budget, Drawn, Found, Scenario, Search, draw, exhaust, replay};

/// Approximately the number of steps in the longest scenario.
const STEPS: usize = 60;

fn check(scenario: Scenario, search: &Search) {
    let tell = |found: &Found| {
        let Found { choices, outcome } = found;
        format!("schedule {choices:?}\n{}\n{:#?}", outcome.trace.join("\n"), outcome.complaints)
    };
    assert!(search.found.is_none(), "{scenario:?}, {}", search.found.as_ref().map(tell).unwrap_or_default());
}

/// Plays all schedules within the budget.
fn all(scenario: Scenario, switches: u32, faults: u32) {
    let search = exhaust(scenario, Budget { switches, faults }, u64::MAX).unwrap();
    check(scenario, &search);
    assert!(search.is_complete);
}

/// Tries some random schedules. Each schedule has at most one fault, and switches between processes at most three
/// times.
fn some(scenario: Scenario) {
    let drawn = Drawn { budget: Budget { switches: 3, faults: 1 }, steps: STEPS };
    check(scenario, &draw(scenario, drawn, 0..50).unwrap());
}

#[test]
fn a_session_is_refreshed_once() {
    for scenario in [Scenario::Refresh, Scenario::RefreshExpired] {
        all(scenario, 2, 0);
        all(scenario, 0, 1);
        some(scenario);
    }
}

#[test]
fn a_code_is_sent_once() {
    all(Scenario::Callbacks, 1, 0);
    some(Scenario::Callbacks);
}

#[test]
fn both_statements_about_a_person_count() {
    for scenario in [Scenario::PromotedAndDeactivated, Scenario::PromotedAndChanged] {
        all(scenario, 1, 0);
        all(scenario, 0, 1);
        some(scenario);
    }
}

#[test]
fn a_role_that_a_source_takes_back_goes() {
    all(Scenario::PromotionTakenBack, 0, 1);
    some(Scenario::PromotionTakenBack);
}

#[test]
fn a_username_has_one_user() {
    all(Scenario::SameUsername, 1, 0);
    some(Scenario::SameUsername);
}

#[test]
fn a_username_outlives_its_user() {
    all(Scenario::DeletedAndCreated, 1, 0);
    all(Scenario::DeletedAndCreated, 0, 1);
    some(Scenario::DeletedAndCreated);
}

#[test]
fn a_group_loses_no_change() {
    for scenario in [Scenario::Members, Scenario::MemberAndRename, Scenario::MemberAndDelete] {
        all(scenario, 1, 0);
        some(scenario);
    }
}

#[test]
fn a_schedule_always_tells_the_same_story() {
    let choices = vec![0, 0, 0, 1, 0, 0, 1];
    for (_, scenario) in Scenario::ALL {
        let tell = || replay(scenario, choices.clone()).unwrap().trace;
        assert_eq!(tell(), tell(), "{scenario:?}");
    }
}
