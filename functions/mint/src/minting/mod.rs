//! Minting: a verified caller gets a Flex token or a refusal.
//!
//! The invariant of this module: a token reaches the caller only if Twilio confirms its user, its roles and its
//! lifetime. The token's user must be the Flex user to whom the caller's identity is bound, or a user whom a trusted
//! service named. The token must not have a role that this user does not have, and must not be valid for longer than
//! Flexgate requested.
//!
//! The caller's verified identity determines whose token it is. There are several ways to find the user, but the same
//! check follows each of them: [`MintGrant::admits`]. Only the people ledger creates and changes users.
//!
//! If the user is cached, a mint makes one request to Twilio. Before that, it makes three requests to the store,
//! concurrently: it counts the mint, reads the binding, and reads whether the person is inactive. `recent_users.rs`
//! explains why so few requests are safe.

mod check;
mod error;
mod matched_by;
mod recent_users;
mod user;

use std::fmt;
use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::Caller;
use flexgate::domain::policy::{MintGrant, MintRequest, Policy};
use flexgate::store::{Counters, Deactivations};
use flexgate::twilio::{MintedToken, TwilioError};
use flexgate::users::ledger::Ledger;
use flexgate::users::{PolicySettings, Provisioning};
use time::Duration;

pub use error::MintError;

use check::WrongToken;
use error::admit;
use matched_by::MatchedBy;
use recent_users::RecentUsers;

/// The length of the period to which the limit of mints applies.
const LIMIT_SPAN: Duration = Duration::MINUTE;

/// Mints tokens for verified callers. A process must have only one `Minting`, because its cache of recently seen users
/// lives there.
#[derive(Debug)]
pub struct Minting {
    policy: Policy,
    per_minute: u32,
    ledger: Ledger,
    provisioning: Arc<Provisioning>,
    counters: Arc<dyn Counters>,
    deactivations: Arc<dyn Deactivations>,
    clock_rng: ClockRng,
    recent_users: RecentUsers,
}

/// A successful mint. Its `Display` form says why the mint was allowed.
#[derive(Debug)]
pub struct Minted {
    /// The token. Flexgate has checked that its user, roles and lifetime are as requested.
    pub token: MintedToken,
    grant: MintGrant,
    found: MatchedBy,
}

impl fmt::Display for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.grant, self.found)
    }
}

impl Minting {
    /// Builds minting with this policy.
    #[must_use]
    pub fn new(
        settings: &PolicySettings,
        ledger: Ledger,
        provisioning: Arc<Provisioning>,
        counters: Arc<dyn Counters>,
        deactivations: Arc<dyn Deactivations>,
        clock_rng: ClockRng,
    ) -> Self {
        let (policy, per_minute) = (settings.policy.clone(), settings.mints_per_minute);
        Self {
            policy,
            per_minute,
            ledger,
            provisioning,
            counters,
            deactivations,
            clock_rng,
            recent_users: RecentUsers::default(),
        }
    }

    /// Reads the Twilio credential ahead of the first mint.
    pub async fn prewarm(&self, deadline: Deadline) {
        self.provisioning.prewarm(deadline).await;
    }

    /// Mints the token that `caller` requests, if the policy allows it.
    pub async fn mint(&self, caller: &Caller, asked: MintRequest, deadline: Deadline) -> Result<Minted, MintError> {
        let grant = self.policy.mint(caller, asked, self.clock_rng.now())?;
        let (user, found) = if grant.for_self {
            // Make the three store calls concurrently, so that the mint takes the time of only one call.
            let bound = self.provisioning.bindings().user_of(&caller.identity);
            let (counted, bound, present) = tokio::join!(self.count(caller, &grant), bound, self.present(&grant));
            counted?;
            present?;
            self.own_user(caller, &grant, bound?, deadline).await?
        } else {
            let (counted, present) = tokio::join!(self.count(caller, &grant), self.present(&grant));
            counted?;
            present?;
            (self.named_user(&grant, deadline).await?, MatchedBy::Named)
        };
        admit(&grant, &user)?;
        let done = |token| Minted { token, grant: grant.clone(), found };
        match self.provisioning.flex().mint(&user.flex_user_sid, grant.ttl, deadline).await {
            Ok(token) => match check::check(&token.info, &user, grant.ttl, self.clock_rng.now()) {
                Ok(()) => Ok(done(token)),
                Err(WrongToken::Roles) => {
                    // The token has a role that the cached user lacks. Read the user again, because somebody may have
                    // given them the role since.
                    let fresh = self.look_again(caller, &grant, &user, deadline).await?;
                    let checked = check::check(&token.info, &fresh, grant.ttl, self.clock_rng.now());
                    checked.map(|()| done(token)).map_err(MintError::WrongToken)
                }
                Err(wrong) => Err(MintError::WrongToken(wrong)),
            },
            Err(TwilioError::Foreign) => Err(MintError::WrongToken(WrongToken::Account)),
            Err(refused @ (TwilioError::Refused(_) | TwilioError::NotFound(_))) => {
                // Twilio refused the mint. The cached user may be out of date, so read it again to find the reason.
                match self.look_again(caller, &grant, &user, deadline).await {
                    Err(error @ (MintError::NotAdmitted { .. } | MintError::UserUnknown)) => Err(error),
                    _ => Err(refused.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a mint if a source says that the person is inactive. The person's Flex user can still be active, because
    /// Twilio's SSO or somebody in the Console may have reactivated it.
    async fn present(&self, grant: &MintGrant) -> Result<(), MintError> {
        let username = grant.username.key();
        if self.deactivations.says_inactive(None, Some(&username)).await? { Err(MintError::Inactive) } else { Ok(()) }
    }

    /// Counts one more mint for this caller. If the caller is a service, Flexgate counts separately for each user that
    /// the service names. A failed mint counts too. This limits how fast a caller can find out which usernames exist.
    async fn count(&self, caller: &Caller, grant: &MintGrant) -> Result<(), MintError> {
        let named = if grant.for_self { "" } else { grant.username.as_str() };
        let who = [&*caller.identity.issuer, &*caller.identity.subject, named];
        let now = self.clock_rng.now();
        let counted = self.counters.count("mint", &who, now, LIMIT_SPAN).await?;
        if counted.times <= self.per_minute {
            return Ok(());
        }
        Err(MintError::TooMany { retry_after: (counted.until - now).try_into().unwrap_or_default() })
    }
}
