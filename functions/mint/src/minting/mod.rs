//! Mints Flex tokens for verified callers.
//!
//! A token reaches the caller only if Twilio confirms the token's user, roles and lifetime. The token's user is bound
//! to the caller's identity, or was named by a trusted service.
//!
//! If the user is cached, a mint sends only one request to Twilio. `recent_users.rs` explains why this is safe. For a
//! bound user who is not cached, Flexgate reads the user and mints at the same time, and discards the token if the user
//! must not get it. So even such a person waits for only one round trip to Twilio.

mod check;
mod early;
mod error;
mod matched_by;
mod recent_users;
mod user;

use std::fmt;
use std::sync::Arc;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::{JustInTime, MintGrant, MintRequest, Policy};
use flexgate::domain::{Caller, FlexUser, FlexUserSid};
use flexgate::platform::Platform;
use flexgate::store::{CachedSignInState, Counters, Deactivations, EndedUntil, EndingKey, SessionEndings};
use flexgate::twilio::{MintedToken, TwilioError};
use flexgate::users::ledger::Ledger;
use flexgate::users::{PolicySettings, Provisioning};
use time::Duration;

pub use error::{Failed, MintError};

use check::WrongToken;
use error::admit;
use matched_by::MatchedBy;
use recent_users::RecentUsers;

/// The length of the period in which Flexgate counts mints for the limit.
const LIMIT_SPAN: Duration = Duration::MINUTE;

/// Mints tokens for verified callers. A process must have only one `Minting`, because each has a separate cache of
/// users.
#[derive(Debug)]
pub struct Minting {
    policy: Policy,
    per_minute: u32,
    ledger: Ledger,
    provisioning: Arc<Provisioning>,
    counters: Arc<dyn Counters>,
    deactivations: Arc<dyn Deactivations>,
    endings: Arc<dyn SessionEndings>,
    sign_in_state: CachedSignInState,
    clock_rng: ClockRng,
    recent_users: RecentUsers,
}

/// A successful mint. `Display` shows why Flexgate allowed the mint.
#[derive(Debug)]
pub struct Minted {
    /// The token. Flexgate has checked its user, roles and lifetime.
    pub token: MintedToken,
    grant: MintGrant,
    found: MatchedBy,
    /// Whether Twilio first minted another token for this mint, which Flexgate discarded.
    discarded: bool,
}

/// Appended to the reason in the audit event if Twilio minted a token that nobody received.
pub const DISCARDED: &str = ", a token minted meanwhile was discarded";

impl fmt::Display for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}{}", self.grant, self.found, if self.discarded { DISCARDED } else { "" })
    }
}

impl Minting {
    #[must_use]
    pub fn new(
        settings: &PolicySettings,
        platform: &Platform,
        provisioning: Arc<Provisioning>,
        sign_in_state: CachedSignInState,
    ) -> Self {
        Self {
            policy: settings.policy.clone(),
            per_minute: settings.mints_per_minute,
            ledger: Ledger::of_platform(platform, provisioning.clone(), settings),
            provisioning,
            counters: platform.counters(),
            deactivations: platform.deactivations(),
            endings: platform.session_endings(),
            sign_in_state,
            clock_rng: platform.clock_rng.clone(),
            recent_users: RecentUsers::default(),
        }
    }

    /// Reads the Twilio credential before the first mint.
    pub async fn prewarm(&self, deadline: Deadline) {
        self.provisioning.prewarm(deadline).await;
    }

    /// Mints the requested token for `caller`, if the policy allows it.
    pub async fn mint(&self, caller: &Caller, asked: MintRequest, deadline: Deadline) -> Result<Minted, Failed> {
        let mut discarded = false;
        let minted = self.mint_once(caller, asked, deadline, &mut discarded).await;
        let minted = minted.map(|(token, grant, found)| Minted { token, grant, found, discarded });
        minted.map_err(|error| Failed { error, discarded })
    }

    async fn mint_once(
        &self,
        caller: &Caller,
        asked: MintRequest,
        deadline: Deadline,
        discarded: &mut bool,
    ) -> Result<(MintedToken, MintGrant, MatchedBy), MintError> {
        let grant = self.policy.mint(caller, asked, self.clock_rng.now())?;
        let (user, found, early) = if grant.for_self {
            // Run the store calls concurrently, to save time.
            let bound = self.still_signed_in(caller, &grant);
            let (counted, bound, present) =
                tokio::join!(self.count(caller, &grant), bound, self.present(caller, &grant));
            counted?;
            present?;
            self.own_user_and_token(caller, &grant, bound?, deadline, discarded).await?
        } else {
            let signed_in = self.check_signed_in(caller, vec![EndingKey::Identity(caller.identity.clone())]);
            let (counted, signed_in, present) =
                tokio::join!(self.count(caller, &grant), signed_in, self.present(caller, &grant));
            counted?;
            present?;
            signed_in?;
            let user = self.named_user(&grant, deadline).await?;
            admit(&grant, &user)?;
            (user, MatchedBy::Named, None)
        };
        let minted = match early {
            Some(minted) => minted,
            None => self.provisioning.flex().mint(&user.flex_user_sid, grant.ttl, deadline).await,
        };
        match minted {
            Ok(token) if found == MatchedBy::Remembered && self.follows_others(&grant, &token, &user) => {
                *discarded = true;
                self.mint_after_others(caller, grant, deadline).await
            }
            Ok(token) => match check::check(&token.info, &user, grant.ttl, self.clock_rng.now()) {
                Ok(()) => Ok((token, grant, found)),
                Err(WrongToken::Roles) => {
                    // The token has a role that the user lacked when Flexgate read the user. The user may have got this
                    // role since then, so read the user again.
                    let fresh = self.look_again(caller, &grant, &user, deadline).await;
                    let fresh = fresh.inspect_err(|_| *discarded = true)?;
                    let checked = check::check(&token.info, &fresh, grant.ttl, self.clock_rng.now());
                    checked.map(|()| (token, grant, found)).map_err(MintError::WrongToken)
                }
                Err(wrong) => Err(MintError::WrongToken(wrong)),
            },
            Err(TwilioError::Foreign) => Err(MintError::WrongToken(WrongToken::Account)),
            Err(refused @ (TwilioError::Refused(_) | TwilioError::NotFound(_))) => {
                // Twilio refused to mint. Read the user again to find the reason, because the user may have changed
                // since Flexgate last read it.
                match self.look_again(caller, &grant, &user, deadline).await {
                    Err(error @ (MintError::NotAdmitted { .. } | MintError::UserUnknown)) => Err(error),
                    _ => Err(refused.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether another process has given the user a role since this process cached the user. The minted token shows
    /// this, because it has a role that the cached user lacks. In that case, Flexgate must compare the caller's claims
    /// with the ledger, because so far it has compared them only with the cache. Always false if the user's roles need
    /// not follow the claims.
    fn follows_others(&self, grant: &MintGrant, token: &MintedToken, user: &FlexUser) -> bool {
        grant.just_in_time == JustInTime::CreateAndSync
            && check::check(&token.info, user, grant.ttl, self.clock_rng.now()) == Err(WrongToken::Roles)
    }

    /// Updates the user from the claims, and mints again. The caller receives only the second token.
    async fn mint_after_others(
        &self,
        caller: &Caller,
        grant: MintGrant,
        deadline: Deadline,
    ) -> Result<(MintedToken, MintGrant, MatchedBy), MintError> {
        self.recent_users.forget(&caller.identity);
        // Read the binding again, because the caller may by now be bound to another Flex user, or to none.
        let bound = self.provisioning.bindings().user_of(&caller.identity).await?;
        let (user, found) = self.own_user(caller, &grant, bound, deadline).await?;
        admit(&grant, &user)?;
        let token = self.provisioning.flex().mint(&user.flex_user_sid, grant.ttl, deadline).await?;
        check::check(&token.info, &user, grant.ttl, self.clock_rng.now()).map_err(MintError::WrongToken)?;
        Ok((token, grant, found))
    }

    /// Refuses a mint in three cases: an operator has stopped all sign-ins, an operator has ended all sessions since
    /// the caller's token was issued, or a source has reported the person as inactive. In the third case, the Flex user
    /// may still be active, for example because somebody activated the user in the Console.
    async fn present(&self, caller: &Caller, grant: &MintGrant) -> Result<(), MintError> {
        let state = self.sign_in_state.get().await?;
        if state.locked_at.is_some() {
            return Err(MintError::Locked);
        }
        if EndedUntil(state.ended_at).ends(caller.issued_at) {
            return Err(MintError::SignedOut);
        }
        let username = grant.username.key();
        if self.deactivations.says_inactive(None, Some(&username)).await? { Err(MintError::Inactive) } else { Ok(()) }
    }

    /// Returns the Flex user bound to the caller. Refuses a token that was issued before somebody (such as the caller's
    /// identity system) ended the person's sessions.
    async fn still_signed_in(&self, caller: &Caller, grant: &MintGrant) -> Result<Option<FlexUserSid>, MintError> {
        let bound = self.provisioning.bindings().user_of(&caller.identity).await?;
        let mut keys = vec![EndingKey::Identity(caller.identity.clone()), EndingKey::Username(grant.username.key())];
        keys.extend(bound.iter().cloned().map(EndingKey::FlexUser));
        self.check_signed_in(caller, keys).await?;
        Ok(bound)
    }

    async fn check_signed_in(&self, caller: &Caller, keys: Vec<EndingKey>) -> Result<(), MintError> {
        let ended = self.endings.ended_until(&keys).await?;
        if ended.ends(caller.issued_at) { Err(MintError::SignedOut) } else { Ok(()) }
    }

    /// Counts a mint by this caller, and refuses it if the caller has reached the limit. A mint that fails later counts
    /// too. A service that mints for other users has a separate count for each of them.
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
