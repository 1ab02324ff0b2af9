//! A budget of failures for each client. It keeps a client that sends garbage from using up what everybody needs: calls
//! to Twilio, signature checks and the log.
//!
//! Only failed requests cost something, so a whole company can sign in from one address at the same time. A client
//! whose budget is used up is refused before any work. The budget refills steadily. A request whose client does not wait
//! for the answer counts as failed, because Flexgate may have done the work.
//!
//! Each client has several budgets ([`Lane`]). So a service with a wrong token does not keep people behind the same
//! address from signing in, and neither does a flood that does not pretend to be a browser. A flood that imitates
//! browsers cannot be told from people. It limits its own address, and only that address.
//!
//! SCIM and webhooks have no budget. Identity providers send both from addresses that all their customers share, so
//! somebody else's garbage could lock out the company's own directory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
/// How many requests of a client may be under way at once. This is enough for a company whose people sign in while
/// Twilio is slow. A client that has used up half of its burst may have only as many requests under way as it has
/// failures left. Otherwise it could cause far more work before the first answer is known.
const MOST_UNDER_WAY: u32 = 1_000;
/// How many budgets one process remembers. They take at most about 2 MB.
const MOST_BUDGETS: usize = 16_384;
/// How often a refusal of one client is logged, at most.
const LOG_PAUSE: i64 = 60_000;
/// How often budgets that are full again are forgotten, at least.
const TIDY_PAUSE: i64 = 60_000;
/// How often budgets are forgotten, at most, if there are too many. Each time takes about a millisecond.
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
    /// The number of requests that are not answered yet.
    under_way: u32,
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

    fn may_go_on(&self) -> bool {
        let most = if self.left >= BURST / 2.0 { f64::from(MOST_UNDER_WAY) } else { self.left };
        f64::from(self.under_way) + 1.0 <= most
    }

    fn is_unused(&self) -> bool {
        self.left >= BURST && self.under_way == 0
    }
}

/// The budgets of the clients that sent requests lately. A client without an entry has its whole budget.
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

    /// Lets a request go on, or returns how long the client must wait because its budget is used up.
    ///
    /// A refused request has no line of its own in the log. One line a minute counts the refused requests of a budget,
    /// and names the last of them.
    pub(super) fn admit(&self, account: Account, request_id: &RequestId) -> Result<Ticket<'_>, Duration> {
        let now = self.now();
        let mut table = self.table();
        if let Some(budget) = table.entry(account, now) {
            budget.settle(now);
            if !budget.may_go_on() {
                budget.refused += 1;
                if budget.logged_at.is_none_or(|at| !(0..LOG_PAUSE).contains(&(now - at))) {
                    budget.logged_at = Some(now);
                    log(account, std::mem::take(&mut budget.refused), Some(request_id));
                }
                return Err(Duration::from_secs_f64((1.0 - budget.left).clamp(0.0, 1.0) / REFILL));
            }
            budget.under_way += 1;
        }
        Ok(Ticket { budgets: self, account, cost: 1.0 })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        i64::try_from(self.clock_rng.now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
    }
}

/// A request that may go on. Dropping the ticket without an answer costs a failure.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    budgets: &'a FailureBudgets,
    account: Account,
    cost: f64,
}

impl Ticket<'_> {
    /// The request was answered.
    pub(super) fn answered(mut self, status: StatusCode, kind: Option<&Kind>) {
        if !self.account.lane.is_failure(status, kind) {
            self.cost = 0.0;
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let now = self.budgets.now();
        if let Some(budget) = self.budgets.table().budgets.get_mut(&self.account) {
            budget.settle(now);
            budget.left = (budget.left - self.cost).max(0.0);
            budget.under_way = budget.under_way.saturating_sub(1);
        }
    }
}

impl Table {
    /// Finds or creates a budget. `None` if there are too many. The client then goes without one, which harms less than
    /// refusing everybody who is new.
    fn entry(&mut self, account: Account, now: i64) -> Option<&mut Budget> {
        let since_tidied = now - self.tidied_at;
        let is_due = !(0..TIDY_PAUSE).contains(&since_tidied);
        if is_due || self.is_full() && !(0..FORCED_TIDY_PAUSE).contains(&since_tidied) {
            self.tidy(now);
        }
        if self.is_full() && !self.budgets.contains_key(&account) {
            return None;
        }
        let new = || Budget { left: BURST, at: now, under_way: 0, refused: 0, logged_at: None };
        Some(self.budgets.entry(account).or_insert_with(new))
    }

    fn is_full(&self) -> bool {
        self.budgets.len() >= MOST_BUDGETS
    }

    /// Forgets the budgets that are full again and not in use. If there are still too many, also forgets the eighth with
    /// the fewest failures. So an attacker with many addresses cannot make Flexgate forget the clients that fail most.
    fn tidy(&mut self, now: i64) {
        self.tidied_at = now;
        self.budgets.retain(|account, budget| {
            budget.settle(now);
            if budget.is_unused() && budget.refused > 0 {
                log(*account, budget.refused, None);
            }
            !budget.is_unused()
        });
        if self.is_full() {
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
mod tests;
