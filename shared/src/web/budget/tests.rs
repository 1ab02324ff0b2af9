use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use flexgate_test_support::Log;
use time::{Duration as Span, OffsetDateTime};

use super::*;
use crate::base::clock_rng::{ManualClock, SystemRng};

const REFUSED: StatusCode = StatusCode::UNAUTHORIZED;

fn budgets() -> (FailureBudgets, Arc<ManualClock>) {
    let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH + Span::days(20_000));
    let clock_rng = ClockRng { clock: clock.clone(), rng: Arc::new(SystemRng) };
    (FailureBudgets::new(ClientSettings::default(), clock_rng), clock)
}

fn account(number: u32, lane: Lane) -> Account {
    Account { client: ClientNetwork::of(IpAddr::V4(Ipv4Addr::from(number))), lane }
}

fn admit(budgets: &FailureBudgets, account: Account) -> Result<Ticket<'_>, Duration> {
    budgets.admit(account, &RequestId::default())
}

/// Sends requests that fail. Returns the number of admitted requests.
fn fails(budgets: &FailureBudgets, account: Account, times: u32) -> u32 {
    let fails = |_: &u32| admit(budgets, account).map(|ticket| ticket.answered(REFUSED, None)).is_ok();
    (0..times).filter(fails).count().try_into().unwrap()
}

#[test]
fn r75_a_client_has_a_burst_of_failures_and_then_a_few_each_second() {
    let (budgets, clock) = budgets();
    let one = account(1, Lane::Validate);
    assert_eq!(fails(&budgets, one, 1_000), 300);
    assert_eq!(admit(&budgets, one).unwrap_err(), Duration::from_millis(200));
    clock.advance(Span::seconds(3));
    assert_eq!(fails(&budgets, one, 1_000), 15);
    clock.advance(Span::minutes(2));
    assert_eq!(fails(&budgets, one, 1_000), 300);
    assert_eq!(fails(&budgets, account(2, Lane::Validate), 10), 10, "another client");
    assert_eq!(fails(&budgets, account(1, Lane::Mint), 10), 10, "another budget");
}

#[test]
fn r75_a_shift_that_signs_in_from_one_address_costs_nothing() {
    let (budgets, clock) = budgets();
    let office = account(1, Lane::Browser);
    for _ in 0..42 * 600 {
        for (status, kind) in [
            (StatusCode::SEE_OTHER, None),
            (StatusCode::OK, None),
            (StatusCode::SERVICE_UNAVAILABLE, Some(kinds::UNAVAILABLE)),
            (StatusCode::FORBIDDEN, Some(kinds::LOGIN_REFUSED)),
        ] {
            admit(&budgets, office).unwrap().answered(status, kind);
        }
        clock.advance(Span::milliseconds(24));
    }
    assert_eq!(fails(&budgets, office, 301), 300);
}

#[test]
fn a_verified_caller_of_token_costs_nothing() {
    let (budgets, _) = budgets();
    let service = account(1, Lane::Mint);
    for kind in [kinds::MINT_REFUSED, kinds::TOO_MANY_REQUESTS, kinds::FIELDS_INVALID, kinds::USER_INACTIVE] {
        for _ in 0..400 {
            admit(&budgets, service).unwrap().answered(kind.status, Some(kind));
        }
    }
    assert_eq!(fails(&budgets, service, 301), 300);
    assert!(Lane::Mint.is_failure(kinds::TOKEN_INVALID.status, Some(kinds::TOKEN_INVALID)));
}

#[test]
fn r75_a_client_that_does_not_wait_for_answers_is_limited_too() {
    let (budgets, _) = budgets();
    let one = account(1, Lane::Validate);
    for _ in 0..300 {
        drop(admit(&budgets, one).unwrap());
    }
    admit(&budgets, one).unwrap_err();
}

#[test]
fn r75_answers_that_take_long_do_not_multiply_the_work_that_a_client_causes() {
    let (budgets, clock) = budgets();
    let one = account(1, Lane::Validate);
    let mut under_way: Vec<_> = (0..1_000).map(|_| admit(&budgets, one).unwrap()).collect();
    admit(&budgets, one).unwrap_err();
    under_way.drain(..).for_each(|ticket| ticket.answered(REFUSED, None));
    clock.advance(Span::seconds(2));
    let under_way: Vec<_> = (0..1_000).filter_map(|_| admit(&budgets, one).ok()).collect();
    assert_eq!(under_way.len(), 10);
}

#[test]
fn r75_a_shift_that_signs_in_while_twilio_is_slow_is_not_refused() {
    let (budgets, clock) = budgets();
    let office = account(1, Lane::Browser);
    let mut under_way = std::collections::VecDeque::new();
    for number in 0..42 * 60 {
        under_way.push_back(admit(&budgets, office).unwrap());
        clock.advance(Span::milliseconds(24));
        // Each answer takes ten seconds, in which 420 requests arrive. Every tenth request fails.
        if under_way.len() > 420 {
            let status = if number % 10 == 0 { REFUSED } else { StatusCode::SEE_OTHER };
            under_way.pop_front().unwrap().answered(status, None);
        }
    }
}

#[test]
fn a_clock_that_is_set_back_neither_refills_nor_blocks_for_longer() {
    let (budgets, clock) = budgets();
    let one = account(1, Lane::SignIn);
    assert_eq!(fails(&budgets, one, 301), 300);
    clock.advance(Span::hours(-2));
    assert_eq!(fails(&budgets, one, 10), 0);
    clock.advance(Span::seconds(2));
    assert_eq!(fails(&budgets, one, 100), 10);
}

#[test]
fn an_attacker_with_many_addresses_neither_fills_the_memory_nor_hides_one_that_fails_often() {
    let (budgets, clock) = budgets();
    let loud = account(0, Lane::Mint);
    assert_eq!(fails(&budgets, loud, 1_000), 300);
    for number in 1..100_000 {
        fails(&budgets, account(number, Lane::Mint), 1);
        if number % 1_000 == 0 {
            clock.advance(Span::milliseconds(20));
        }
        assert!(budgets.table.lock().unwrap().budgets.len() <= MOST_BUDGETS);
    }
    // Two seconds have passed since the budget of `loud` was used up, so it allows at most ten more failures.
    assert!(fails(&budgets, loud, 1_000) <= 10);
    // After a minute, all other budgets are full again. The next request starts a clean-up, which removes full budgets.
    clock.advance(Span::minutes(1));
    fails(&budgets, loud, 1);
    assert_eq!(budgets.table.lock().unwrap().budgets.len(), 1);
}

#[test]
fn one_line_a_minute_counts_the_refused_requests() {
    let log = Log::start();
    let (budgets, clock) = budgets();
    let client = ClientNetwork::of(IpAddr::V6("2001:db8:1:2:3::4".parse::<Ipv6Addr>().unwrap()));
    let flood = Account { client, lane: Lane::SignIn };
    for _ in 0..121 {
        fails(&budgets, flood, 500);
        clock.advance(Span::seconds(1));
    }
    clock.advance(Span::minutes(2));
    fails(&budgets, account(1, Lane::Mint), 1);
    let text = log.text();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counts: Vec<u64> = lines.iter().map(|line| line["refused"].as_u64().unwrap()).collect();
    // The log must contain four lines: one for the first refusal, two during the two minutes of the flood, and one
    // afterwards.
    assert_eq!(counts.len(), 4, "{text}");
    assert_eq!(counts[0], 1);
    // 500 requests are sent in each of 121 seconds. The budget admits 300 of them at first, and 5 more in each of the
    // 120 seconds that follow.
    assert_eq!(counts.iter().sum::<u64>(), 121 * 500 - 300 - 120 * 5);
    let described = (&lines[0]["client"], &lines[0]["budget"], &lines[0]["level"]);
    assert_eq!(described, (&"2001:db8:1:2::/64".into(), &"sign_in".into(), &"WARN".into()));
}
