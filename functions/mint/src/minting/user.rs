//! Finds the Flex user that a mint is for.

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
    /// Returns the caller's Flex user. If the caller's identity is bound to a user (`bound`), returns that user.
    /// Otherwise, looks for the user with the caller's username and binds the identity to it. If there is no such user
    /// and the policy allows it, creates one.
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
            // While this request waited for the lock, another request may have bound the identity, so read the binding
            // again.
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
            // The ledger recorded the claims with the roles that the new user got. These may be fewer than the caller's
            // roles. Cache the same claims, so that the next mint compares with what the ledger recorded.
            claims = self.claims(caller, grant, newcomer_roles(caller, grant));
        }
        // Read the user again, even if the search returned it completely. The cache may contain only users that
        // Flexgate read after it bound the identity.
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

    /// Refuses the mint if a source says that the person is inactive. This check uses the username of the person's Flex
    /// user. An earlier check used the username in the token, which may differ.
    async fn present_as(&self, grant: &MintGrant, user: &FlexUser) -> Result<(), MintError> {
        let key = user.username.key();
        if key == grant.username.key() {
            return Ok(());
        }
        let inactive = self.deactivations.says_inactive(Some(&user.flex_user_sid), Some(&key)).await?;
        if inactive { Err(MintError::Inactive) } else { Ok(()) }
    }

    /// Converts the caller's claims to the form that the ledger uses. `roles` takes the place of the roles in the
    /// claims.
    fn claims(&self, caller: &Caller, grant: &MintGrant, roles: &RoleSet) -> TokenClaims {
        TokenClaims::of(caller, &grant.username, roles, &self.clock_rng)
    }

    /// Returns the user, and whether this call changed it. If the settings say that mints update users from claims,
    /// this call updates the user first.
    async fn follow(
        &self,
        claims: &TokenClaims,
        user: &FlexUserSid,
        deadline: Deadline,
    ) -> Result<(FlexUser, bool), MintError> {
        match self.ledger.follow(claims, user, deadline).await {
            // An update from the claims would take the role `admin` from the last administrator. Change nothing, so
            // that this person can sign in and appoint another administrator.
            Err(LedgerError::LastAdmin) => Ok((self.get(user, deadline).await?, false)),
            followed => {
                let followed = followed?;
                Ok((followed.user, followed.changed))
            }
        }
    }

    /// Returns the user that a trusted service names. Always reads the user from Twilio. The named user need not be
    /// bound to an identity, so only Twilio can tell whether the user was deprovisioned.
    pub(super) async fn named_user(&self, grant: &MintGrant, deadline: Deadline) -> Result<FlexUser, MintError> {
        let user = self.provisioning.flex().find(&grant.username, deadline).await?.ok_or(MintError::UserUnknown)?;
        if user.is_complete() { Ok(user) } else { self.get(&user.flex_user_sid, deadline).await }
    }

    /// Reads the user from Twilio again. Returns an error if no token may be minted for the user any more.
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

    /// Binds the caller to the Flex user with the caller's username. If there is no such user and the policy allows it,
    /// creates one.
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
                // Record the deactivated user in the ledger, because Twilio's next search may not find it.
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

/// Returns the roles for a user who is created for the caller. If the caller asks for a token with only some of their
/// roles, the user gets only those roles, because Twilio always mints a token with all roles of the user.
fn newcomer_roles<'a>(caller: &'a Caller, grant: &'a MintGrant) -> &'a RoleSet {
    grant.only_roles.as_ref().unwrap_or(&caller.roles)
}
