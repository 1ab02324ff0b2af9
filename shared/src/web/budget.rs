//! A budget of failed requests for each client. The budgets protect Twilio, the signature checks and the log from
//! floods.
//!
//! Only failed requests use up a budget. A request that ends without an answer also counts as failed. A client whose
//! budget is empty gets status 429. The budget refills at a constant rate.
//!
//! Many people may share one address, and Flexgate knows a client only by its address. So each client has a separate
//! budget for each group of routes ([`Lane`]). For example, a program with a wrong token cannot block the sign-ins at
//! its address.
//!
//! SCIM and webhooks have no budget, because all customers of an identity provider share the provider's addresses.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::client::{ClientNetwork, ClientSettings, Peer};
use super::problem::{Kind, kinds};
use crate::base::clock_rng::ClockRng;
use crate::telemetry::RequestId;

/// The size of a full budget, in failed requests.
const BURST: f64 = 300.0;
/// The refill of a budget, in failed requests per second.
const REFILL: f64 = 5.0;
/// The maximum number of requests in progress for one budget. If less than half of the budget is left, the maximum is
/// lower: the number of failed requests that the budget still allows.
const MOST_UNDER_WAY: u32 = 1_000;
/// The maximum number of budgets in memory. They need at most about 2 MB.
const MOST_BUDGETS: usize = 16_384;
/// The minimum time between two log lines about the same budget, in milliseconds.
const LOG_PAUSE: i64 = 60_000;
/// The usual time between two clean-ups, in milliseconds. A clean-up removes full budgets.
const TIDY_PAUSE: i64 = 60_000;
/// The time between two clean-ups while there are too many budgets, in milliseconds. A clean-up takes about a
/// millisecond.
const FORCED_TIDY_PAUSE: i64 = 1_000;

/// A group of routes with a common budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Login and callback, requested by a browser that opens a page.
    Browser,
    /// Login and callback, requested by anything other than a browser that opens a page.
    SignIn,
    /// `/sso/validate`.
    Validate,
    /// `POST /token`.
    Mint,
    /// Any route with a budget, requested by a page from another site. Such a page must not use up the budgets of
    /// people at the same address.
    OtherSite,
}

impl Lane {
    /// Returns the lane (a group of routes with a common budget) of a route, or `None` if the route has no budget.
    fn of(route: &str, accepts_page: bool, is_other_site: bool) -> Option<Self> {
        match route {
            "/sso/{profile}/login" | "/sso/{profile}/callback" | "/sso/validate" | "/token" if is_other_site => {
                Some(Self::OtherSite)
            }
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
            Self::OtherSite => "other_site",
        }
    }

    /// Whether the answer counts as a failure and uses up the budget. A refusal of an authenticated person does not
    /// count, because otherwise a mistake in the settings could lock out a whole office.
    fn is_failure(self, status: StatusCode, kind: Option<&Kind>) -> bool {
        match self {
            Self::Mint => {
                // A token exchange (RFC 8693) with an invalid token gets status 400 instead of 401. So the status alone
                // is not enough, and the kind of problem counts too.
                let unproven = [kinds::EXCHANGE_INVALID, kinds::TOO_LARGE, kinds::BODY_MALFORMED];
                status == StatusCode::UNAUTHORIZED || kind.is_some_and(|kind| unproven.contains(&kind))
            }
            Self::Browser | Self::SignIn | Self::Validate | Self::OtherSite => {
                status.is_client_error() && kind != Some(kinds::LOGIN_REFUSED)
            }
        }
    }
}

/// The key of a budget: the client and the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Account {
    client: ClientNetwork,
    lane: Lane,
}

#[derive(Debug)]
struct Budget {
    /// The number of failed requests that were still allowed at the time `at`.
    left: f64,
    /// The time of the last update, in Unix milliseconds.
    at: i64,
    /// The number of unanswered requests.
    under_way: u32,
    /// The number of refused requests since the last log line.
    refused: u64,
    logged_at: Option<i64>,
}

impl Budget {
    fn settle(&mut self, now: i64) {
        // If the clock has been set back, the budget gets no refill.
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

/// The budgets of recent clients. A client without an entry has a full budget.
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

    /// Returns the budget for a request, or `None` if the route or the client has no budget.
    pub(super) fn account(
        &self,
        route: Option<&str>,
        accepts_page: bool,
        is_other_site: bool,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> Option<Account> {
        let lane = Lane::of(route?, accepts_page, is_other_site)?;
        let client = self.clients.untrusted(peer, headers)?;
        Some(Account { client, lane })
    }

    /// Admits a request, or returns how long the client must wait.
    ///
    /// A refused request has no log line of its own. Instead, at most one line a minute reports how many requests a
    /// budget has refused.
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

/// An admitted request. If the ticket is dropped without an answer, the request counts as failed.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    budgets: &'a FailureBudgets,
    account: Account,
    cost: f64,
}

impl Ticket<'_> {
    /// Records the answer to the request.
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
    /// Finds or creates a budget. Returns `None` if there are already too many budgets. In that case, the client is
    /// admitted without a budget.
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

    /// Removes full, unused budgets. If there are still too many, removes one eighth of all budgets: those with the
    /// fewest failures. So the budgets of the clients with the most failures stay, even if an attacker uses many
    /// addresses.
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
