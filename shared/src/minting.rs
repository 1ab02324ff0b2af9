//! Minting: from a verified caller to a Flex token that is theirs, or to a refusal.

use std::sync::Arc;

use crate::ambient::Ambient;
use crate::domain::policy::{MintGrant, MintRefusal, MintRequest, Policy};
use crate::domain::{Caller, FlexUser, FlexUserSid};
use crate::outbound::Deadline;
use crate::store::{Bindings, Bound, StoreError};
use crate::twilio::{Flex, MintedToken, TwilioError};

/// Mints tokens for verified callers.
#[derive(Debug)]
pub struct Minting {
    policy: Policy,
    flex: Arc<Flex>,
    bindings: Arc<dyn Bindings>,
    ambient: Ambient,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The policy refuses what was asked.
    #[error("the policy refuses: {0}")]
    Refused(#[from] MintRefusal),
    /// There is no Flex user, and none may be made.
    #[error("there is no Flex user of that name, and none may be provisioned")]
    UserUnknown,
    /// The Flex user is deactivated, or has roles beyond those asked for.
    #[error("the Flex user may not be minted for")]
    UserNotAdmitted,
    /// The Flex user belongs to another identity, or the identity to another user.
    #[error("the Flex user and the caller's identity do not belong together")]
    NotBound,
    /// Twilio minted something else than was asked.
    #[error("Twilio minted a token for somebody else or with other roles")]
    WrongToken,
    /// Twilio.
    #[error("Twilio")]
    Twilio(#[from] TwilioError),
    /// The store.
    #[error("the store")]
    Store(#[from] StoreError),
}

impl Minting {
    /// Minting by this policy.
    #[must_use]
    pub fn new(policy: Policy, flex: Arc<Flex>, bindings: Arc<dyn Bindings>, ambient: Ambient) -> Self {
        Self { policy, flex, bindings, ambient }
    }

    /// Mints what `caller` asks for, if the policy allows it.
    pub async fn mint(
        &self,
        caller: &Caller,
        asked: MintRequest,
        deadline: Deadline,
    ) -> Result<MintedToken, MintError> {
        let grant = self.policy.mint(caller, asked, self.ambient.now())?;
        let user = if grant.for_self {
            self.own_user(caller, &grant, deadline).await?
        } else {
            self.flex.find(&grant.username, deadline).await?.ok_or(MintError::UserUnknown)?
        };
        let user = if user.is_complete() { user } else { self.flex.get(&user.flex_user_sid, deadline).await? };
        if !grant.admits(&user) {
            return Err(MintError::UserNotAdmitted);
        }
        let minted = self.flex.mint(&user.flex_user_sid, grant.ttl, deadline).await?;
        self.check(&minted, &user)?;
        Ok(minted)
    }

    /// The caller's Flex user: the one bound to their identity, else the one of their username, which
    /// is then bound; else, where that is allowed, a new one.
    async fn own_user(&self, caller: &Caller, grant: &MintGrant, deadline: Deadline) -> Result<FlexUser, MintError> {
        if let Some(bound) = self.bindings.user_of(&caller.identity).await? {
            return match self.flex.get(&bound, deadline).await {
                Err(TwilioError::NotFound(_)) => Err(MintError::UserUnknown),
                found => Ok(found?),
            };
        }
        let user = match (self.flex.find(&grant.username, deadline).await?, &grant.provision) {
            (Some(user), _) => user,
            (None, Some(desired)) => self.flex.provision(desired, deadline).await?,
            (None, None) => return Err(MintError::UserUnknown),
        };
        self.bind(caller, &user.flex_user_sid).await?;
        Ok(user)
    }

    async fn bind(&self, caller: &Caller, user: &FlexUserSid) -> Result<(), MintError> {
        match self.bindings.bind(&caller.identity, user, self.ambient.now()).await? {
            Bound::Yes => Ok(()),
            Bound::IdentityTaken(_) | Bound::UserTaken => Err(MintError::NotBound),
        }
    }

    /// A token that is not exactly what was asked for never reaches anybody.
    fn check(&self, minted: &MintedToken, user: &FlexUser) -> Result<(), MintError> {
        let same_user = minted.info.flex_user_sid == user.flex_user_sid;
        let same_roles = user.roles.as_ref().is_some_and(|roles| !minted.info.roles.exceed_observed(roles));
        let alive = minted.info.expiration > self.ambient.now();
        if same_user && same_roles && alive { Ok(()) } else { Err(MintError::WrongToken) }
    }
}
