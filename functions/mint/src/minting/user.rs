//! Finds the Flex user for a mint.

use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::{JustInTime, MintGrant, NotAdmitted};
use flexgate::domain::{Caller, FlexUser, FlexUserSid, RoleSet};
use flexgate::store::Bound;
use flexgate::twilio::TwilioError;
use flexgate::users::ledger::{LedgerError, TokenClaims};

use super::Minting;
use super::error::{MintError, admit};
use super::matched_by::MatchedBy;

impl Minting {
    /// Returns the caller's Flex user: the bound user, else the user with the caller's username, else a new user if the
    /// policy allows one. Binds the caller's identity to the user.
    pub(super) async fn own_user(
        &self,
        caller: &Caller,
        grant: &MintGrant,
        mut bound: Option<FlexUserSid>,
        deadline: Deadline,
    ) -> Result<(FlexUser, MatchedBy), MintError> {
        let identity = &caller.identity;
        let turn = self.recent_users.turn(identity, self.clock_rng.now(), deadline).await;
        let mut turn = turn.ok_or(TwilioError::Timeout)?;
        if turn.sid().is_some_and(|seen| Some(seen) != bound.as_ref()) {
            // Read the binding again, because another request may have written it during the wait for the lock.
            bound = self.provisioning.bindings().user_of(identity).await?;
        }
        let asked_at = self.clock_rng.now();
        let mut claims = self.claims(caller, grant, &caller.roles);
        let must_follow = grant.just_in_time == JustInTime::CreateAndSync;
        if let Some(user) = turn.user(bound.as_ref(), asked_at)
            && (!must_follow || turn.follows(&claims))
        {
            self.present_as(grant, user).await?;
            return Ok((user.clone(), MatchedBy::Remembered));
        }
        turn.forget();
        let (sid, mut found) = match bound {
            Some(sid) => (sid, MatchedBy::Bound),
            None => self.bind_own(caller, grant, deadline).await?,
        };
        if found == MatchedBy::Created {
            // The ledger contains only the roles that the new user got, which may be fewer than the caller's. Cache
            // only these roles too, so that the next mint notices that its claims contain more roles.
            claims = self.claims(caller, grant, newcomer_roles(caller, grant));
        }
        // Read the user again, because the cache must contain only users that Flexgate has read after binding them.
        let user = if found == MatchedBy::Created || grant.just_in_time == JustInTime::Off {
            self.get(&sid, deadline).await?
        } else {
            let (user, changed) = self.follow(&claims, &sid, deadline).await?;
            found = if changed && found == MatchedBy::Bound { MatchedBy::Synced } else { found };
            user
        };
        self.present_as(grant, &user).await?;
        turn.note(user.clone(), claims, asked_at);
        Ok((user, found))
    }

    /// Refuses the mint if a source has reported the Flex user's username as inactive. That username may differ from
    /// the username in the token, which Flexgate has already checked.
    async fn present_as(&self, grant: &MintGrant, user: &FlexUser) -> Result<(), MintError> {
        let key = user.username.key();
        if key == grant.username.key() {
            return Ok(());
        }
        let inactive = self.deactivations.says_inactive(Some(&user.flex_user_sid), Some(&key)).await?;
        if inactive { Err(MintError::Inactive) } else { Ok(()) }
    }

    /// Converts the caller's claims to the ledger's form, with `roles` instead of the caller's roles.
    fn claims(&self, caller: &Caller, grant: &MintGrant, roles: &RoleSet) -> TokenClaims {
        TokenClaims::of(caller, &grant.username, roles, &self.clock_rng)
    }

    /// Returns the user, and whether this call changed the user. Updates the user from the claims if the settings
    /// require it.
    async fn follow(
        &self,
        claims: &TokenClaims,
        user: &FlexUserSid,
        deadline: Deadline,
    ) -> Result<(FlexUser, bool), MintError> {
        match self.ledger.follow(claims, user, deadline).await {
            // The update would remove the role `admin` from the last administrator. Skip the update, so that this
            // administrator can still sign in.
            Err(LedgerError::LastAdmin) => Ok((self.get(user, deadline).await?, false)),
            followed => {
                let followed = followed?;
                Ok((followed.user, followed.changed))
            }
        }
    }

    /// Returns the user that a trusted service names. Always reads the user from Twilio, because a cached user could
    /// have been deprovisioned in the meantime.
    pub(super) async fn named_user(&self, grant: &MintGrant, deadline: Deadline) -> Result<FlexUser, MintError> {
        let user = self.provisioning.flex().find(&grant.username, deadline).await?.ok_or(MintError::UserUnknown)?;
        if user.is_complete() { Ok(user) } else { self.get(&user.flex_user_sid, deadline).await }
    }

    /// Reads the user from Twilio again. Returns an error if the user may no longer get a token.
    pub(super) async fn look_again(
        &self,
        caller: &Caller,
        grant: &MintGrant,
        seen: &FlexUser,
        deadline: Deadline,
    ) -> Result<FlexUser, MintError> {
        if grant.for_self {
            self.recent_users.forget(&caller.identity);
        }
        let user = self.get(&seen.flex_user_sid, deadline).await?;
        admit(grant, &user)?;
        Ok(user)
    }

    async fn get(&self, sid: &FlexUserSid, deadline: Deadline) -> Result<FlexUser, MintError> {
        match self.provisioning.flex().get(sid, deadline).await {
            Err(TwilioError::NotFound(_)) => Err(MintError::UserUnknown),
            found => Ok(found?),
        }
    }

    /// Binds the caller to the Flex user with the caller's username. Creates that user if necessary and allowed.
    async fn bind_own(
        &self,
        caller: &Caller,
        grant: &MintGrant,
        deadline: Deadline,
    ) -> Result<(FlexUserSid, MatchedBy), MintError> {
        let began = self.clock_rng.now();
        let user = self.provisioning.flex().find(&grant.username, deadline).await?;
        if let Some(user) = user.as_ref().filter(|user| user.is_deactivated()) {
            if grant.just_in_time != JustInTime::Off {
                // Record the deactivated user in the ledger, because Twilio's next search may omit the user.
                self.ledger.see(user).await?;
            }
            return Err(MintError::NotAdmitted { user: user.flex_user_sid.clone(), why: NotAdmitted::Deactivated });
        }
        if user.is_none() && grant.newcomer.is_none() {
            return Err(MintError::UserUnknown);
        }
        let claims = self.claims(caller, grant, newcomer_roles(caller, grant));
        let admitted = self.ledger.admit(&claims, user.as_ref(), began, deadline).await?;
        let (sid, created) = (admitted.user, admitted.created);
        let found = if created { MatchedBy::Created } else { MatchedBy::ByUsername };
        match self.provisioning.bindings().bind(&caller.identity, &sid, self.clock_rng.now()).await? {
            Bound::Yes => {
                self.ledger.confirm(&claims, &caller.identity, &sid).await?;
                Ok((sid, found))
            }
            Bound::IdentityTaken(_) | Bound::UserTaken => Err(MintError::NotBound),
        }
    }
}

/// Returns the roles of a new user: the roles that the caller requests, or all of the caller's roles if the caller
/// requests none. A new user gets no other roles, because Twilio mints a token with all of the user's roles.
fn newcomer_roles<'a>(caller: &'a Caller, grant: &'a MintGrant) -> &'a RoleSet {
    grant.only_roles.as_ref().unwrap_or(&caller.roles)
}
