//! A budget of failures for each client. It keeps a client that sends garbage from using up what everybody needs: calls
//! to Twilio, signature checks and the log.
//!
//! Only failed requests cost something, so a whole company can sign in from one address at the same time. A client
//! whose budget is used up is refused before any work. The budget refills steadily.
//!
//! Each client has several budgets ([`Lane`]). So a service with a wrong token does not keep people behind the same
//! address from signing in, and neither does a flood that does not pretend to be a browser. A flood that imitates
//! browsers cannot be told from people. It limits its own address, and only that address.
//!
//! SCIM and webhooks have no budget. Identity providers send both from addresses that all their customers share, so
//! somebody else's garbage could lock out the company's own directory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::client::{ClientNetwork, ClientSettings, Peer};
use super::problem::{Kind, kinds};
use crate::base::clock_rng::ClockRng;
use crate::telemetry::RequestId;

/// How many failures a client may cause at once.
const BURST: f64 = 300.0;
/// How many failures a second a client may cause in the long run.
const REFILL: f64 = 5.0;
/// How many budgets one process remembers. They take at most about 2 MB.
const MOST_BUDGETS: usize = 16_384;
/// How often a refusal of one client is logged, at most.
const LOG_PAUSE: i64 = 60_000;
/// How often budgets that are full again are forgotten, at least.
const TIDY_PAUSE: i64 = 60_000;
/// How often budgets are forgotten, at most. Each time takes about a millisecond.
const FORCED_TIDY_PAUSE: i64 = 1_000;

/// Which of a client's budgets a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Login and callback, by a browser that opens a page.
    Browser,
    /// Login and callback, by any other program.
    SignIn,
    /// `/sso/validate`.
    Validate,
    /// `POST /token`.
    Mint,
}

impl Lane {
    /// The lane of a request for this route. `None` if the route has no budget.
    fn of(route: &str, accepts_page: bool) -> Option<Self> {
        match route {
            "/sso/{profile}/login" | "/sso/{profile}/callback" if accepts_page => Some(Self::Browser),
            "/sso/{profile}/login" | "/sso/{profile}/callback" => Some(Self::SignIn),
            "/sso/validate" => Some(Self::Validate),
            "/token" => Some(Self::Mint),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::SignIn => "sign_in",
            Self::Validate => "validate",
            Self::Mint => "mint",
        }
    }

    /// Whether an answer costs a failure. Refusals of people and services that have proved who they are cost nothing.
    /// Otherwise a mistake in the settings that affects some people would soon lock out everybody behind their address.
    fn is_failure(self, status: StatusCode, kind: Option<&Kind>) -> bool {
        match self {
            Self::Mint => status == StatusCode::UNAUTHORIZED,
            Self::Browser | Self::SignIn | Self::Validate => {
                status.is_client_error() && kind != Some(kinds::LOGIN_REFUSED)
            }
        }
    }
}

/// One budget: whose, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Account {
    client: ClientNetwork,
    lane: Lane,
}

#[derive(Debug)]
struct Budget {
    /// How many failures are left at the time `at`.
    left: f64,
    /// Milliseconds since 1970.
    at: i64,
    /// The number of refused requests since the last line in the log.
    refused: u64,
    logged_at: Option<i64>,
}

impl Budget {
    fn settle(&mut self, now: i64) {
        // The clock may be set back. Then the budget does not refill for the time in between.
        let millis = u32::try_from(now - self.at).unwrap_or(if now > self.at { u32::MAX } else { 0 });
        self.left = (self.left + f64::from(millis) / 1_000.0 * REFILL).min(BURST);
        self.at = now;
    }

    fn is_full(&self) -> bool {
        self.left >= BURST
    }
}

/// The budgets of the clients that caused failures lately. A client without an entry has its whole budget.
#[derive(Debug)]
pub(super) struct FailureBudgets {
    clients: ClientSettings,
    clock_rng: ClockRng,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    budgets: HashMap<Account, Budget>,
    tidied_at: i64,
}

impl FailureBudgets {
    pub(super) fn new(clients: ClientSettings, clock_rng: ClockRng) -> Self {
        Self { clients, clock_rng, table: Mutex::default() }
    }

    /// Which budget a request uses. `None` if the route or the client has none.
    pub(super) fn account(
        &self,
        route: Option<&str>,
        accepts_page: bool,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> Option<Account> {
        let lane = Lane::of(route?, accepts_page)?;
        let client = self.clients.untrusted(peer, headers)?;
        Some(Account { client, lane })
    }

    /// Returns how long the client must wait if its budget is used up. `None` if the request may go on.
    ///
    /// A refused request has no line of its own in the log. One line a minute counts the refused requests of a budget,
    /// and names the last of them.
    pub(super) fn refusal(&self, account: Account, request_id: &RequestId) -> Option<Duration> {
        let now = self.now();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = table.budgets.get_mut(&account)?;
        budget.settle(now);
        if budget.left >= 1.0 {
            return None;
        }
        budget.refused += 1;
        if budget.logged_at.is_none_or(|at| !(0..LOG_PAUSE).contains(&(now - at))) {
            budget.logged_at = Some(now);
            log(account, std::mem::take(&mut budget.refused), Some(request_id));
        }
        Some(Duration::from_secs_f64((1.0 - budget.left) / REFILL))
    }

    /// Takes the answer's cost, if it has any, from the budget.
    pub(super) fn settle(&self, account: Account, status: StatusCode, kind: Option<&Kind>) {
        if account.lane.is_failure(status, kind) {
            let now = self.now();
            self.table.lock().unwrap_or_else(PoisonError::into_inner).spend(account, now);
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock_rng.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
    }
}

impl Table {
    fn spend(&mut self, account: Account, now: i64) {
        let is_due = !(0..TIDY_PAUSE).contains(&(now - self.tidied_at));
        let is_forced =
            self.budgets.len() >= MOST_BUDGETS && !(0..FORCED_TIDY_PAUSE).contains(&(now - self.tidied_at));
        if is_due || is_forced {
            self.tidy(now);
        }
        let is_full = self.budgets.len() >= MOST_BUDGETS;
        if let Some(budget) = self.budgets.get_mut(&account) {
            budget.settle(now);
            budget.left = (budget.left - 1.0).max(0.0);
        } else if !is_full {
            let budget = Budget { left: BURST - 1.0, at: now, refused: 0, logged_at: None };
            self.budgets.insert(account, budget);
        }
    }

    /// Forgets the budgets that are full again. If there are still too many, also forgets the eighth with the fewest
    /// failures. So an attacker with many addresses cannot make Flexgate forget the clients that fail most.
    fn tidy(&mut self, now: i64) {
        self.tidied_at = now;
        self.budgets.retain(|account, budget| {
            budget.settle(now);
            if budget.is_full() && budget.refused > 0 {
                log(*account, budget.refused, None);
            }
            !budget.is_full()
        });
        if self.budgets.len() >= MOST_BUDGETS {
            let mut all: Vec<_> = self.budgets.iter().map(|(account, budget)| (budget.left, *account)).collect();
            all.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
            for (_, account) in all.iter().take(MOST_BUDGETS / 8) {
                self.budgets.remove(account);
            }
        }
    }
}

fn log(account: Account, refused: u64, request_id: Option<&RequestId>) {
    tracing::warn!(
        target: "flexgate::budget",
        request_id = request_id.map(RequestId::as_str),
        client = %account.client,
        budget = account.lane.name(),
        refused,
        "a client's budget of failures is used up"
    );
}

#[cfg(test)]
mod tests {
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

    fn fails(budgets: &FailureBudgets, account: Account, times: u32) -> u32 {
        let id = RequestId::default();
        let fails = |_: &u32| {
            let may = budgets.refusal(account, &id).is_none();
            if may {
                budgets.settle(account, REFUSED, None);
            }
            may
        };
        (0..times).filter(fails).count().try_into().unwrap()
    }

    #[test]
    fn r75_a_client_has_a_burst_of_failures_and_then_a_few_each_second() {
        let (budgets, clock) = budgets();
        let one = account(1, Lane::Validate);
        assert_eq!(fails(&budgets, one, 1_000), 300);
        assert_eq!(budgets.refusal(one, &RequestId::default()), Some(Duration::from_millis(200)));
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
            assert_eq!(budgets.refusal(office, &RequestId::default()), None);
            for (status, kind) in [
                (StatusCode::SEE_OTHER, None),
                (StatusCode::OK, None),
                (StatusCode::SERVICE_UNAVAILABLE, Some(kinds::UNAVAILABLE)),
                (StatusCode::FORBIDDEN, Some(kinds::LOGIN_REFUSED)),
            ] {
                budgets.settle(office, status, kind);
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
                budgets.settle(service, kind.status, Some(kind));
            }
        }
        assert_eq!(fails(&budgets, service, 301), 300);
        assert!(Lane::Mint.is_failure(kinds::TOKEN_INVALID.status, Some(kinds::TOKEN_INVALID)));
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
        // Two seconds have passed.
        assert!(fails(&budgets, loud, 1_000) <= 10);
        // A minute later, everything else is forgotten.
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
        // The first refusal, then a line after each minute, and one for the rest.
        assert_eq!(counts.len(), 4, "{text}");
        assert_eq!(counts[0], 1);
        // 121 seconds with 500 requests each. The budget covers 300 of them, and 5 for each of the 120 seconds between.
        assert_eq!(counts.iter().sum::<u64>(), 121 * 500 - 300 - 120 * 5);
        let described = (&lines[0]["client"], &lines[0]["budget"], &lines[0]["level"]);
        assert_eq!(described, (&"2001:db8:1:2::/64".into(), &"sign_in".into(), &"WARN".into()));
    }
}
