//! Minting: from a verified caller to a Flex token that is theirs, or to a refusal.
//!
//! The invariant of this module: a token reaches the caller only if Twilio says it is for the Flex user
//! that the caller's identity is bound to (or that a trusted service named), for no roles but that
//! user's, and for no longer than was granted. Whose token it is comes from the verified identity;
//! every way to a user ends at one [`MintGrant::admits`]. Users are made and changed by the people ledger alone.
//!
//! A warm mint costs one count and one read of the store, at once, and one call of Twilio; see `recent_users.rs` for
//! why that is safe.

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

/// Over what the limit of mints counts.
const LIMIT_SPAN: Duration = Duration::MINUTE;

/// Mints tokens for verified callers. One per process: it remembers whom it has just seen.
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

/// A mint that was done. Its `Display` says why it was allowed.
#[derive(Debug)]
pub struct Minted {
    /// The token, checked to be the one granted.
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
    /// Minting by this policy.
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

    /// Reads ahead what a first mint needs of Twilio's credential.
    pub async fn prewarm(&self, deadline: Deadline) {
        self.provisioning.prewarm(deadline).await;
    }

    /// Mints what `caller` asks for, if the policy allows it.
    pub async fn mint(&self, caller: &Caller, asked: MintRequest, deadline: Deadline) -> Result<Minted, MintError> {
        let grant = self.policy.mint(caller, asked, self.clock_rng.now())?;
        let (user, found) = if grant.for_self {
            // One wait for the store, not three.
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
                    // Unless somebody gave this user the role just now.
                    let fresh = self.look_again(caller, &grant, &user, deadline).await?;
                    let checked = check::check(&token.info, &fresh, grant.ttl, self.clock_rng.now());
                    checked.map(|()| done(token)).map_err(MintError::WrongToken)
                }
                Err(wrong) => Err(MintError::WrongToken(wrong)),
            },
            Err(TwilioError::Foreign) => Err(MintError::WrongToken(WrongToken::Account)),
            Err(refused @ (TwilioError::Refused(_) | TwilioError::NotFound(_))) => {
                // Perhaps because the user is not any more what was seen.
                match self.look_again(caller, &grant, &user, deadline).await {
                    Err(error @ (MintError::NotAdmitted { .. } | MintError::UserUnknown)) => Err(error),
                    _ => Err(refused.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses whoever a source says is inactive: Twilio's SSO may have reactivated them, or somebody in the Console.
    async fn present(&self, grant: &MintGrant) -> Result<(), MintError> {
        let username = grant.username.key();
        if self.deactivations.says_inactive(None, Some(&username)).await? { Err(MintError::Inactive) } else { Ok(()) }
    }

    /// One more mint for the subject: the caller, or whom they name. A failed one counts too, so that
    /// nobody can search for usernames at any speed.
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
