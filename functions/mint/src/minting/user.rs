//! Which Flex user a mint is for.

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
    /// The caller's Flex user: the one `bound` to their identity, else the one of their username, which
    /// is then bound; else, where that is allowed, a new one.
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
            // Whoever had the turn before may have bound them since.
            bound = self.provisioning.bindings().user_of(identity).await?;
        }
        let asked_at = self.clock_rng.now();
        let mut claims = self.claims(caller, grant, &caller.roles);
        let follows = claims.as_ref().filter(|_| grant.just_in_time == JustInTime::CreateAndSync);
        if let Some(user) = turn.user(bound.as_ref(), asked_at)
            && follows.is_none_or(|claims| turn.follows(claims))
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
            // The claims were stated just now, narrowed as the caller asked.
            claims = self.claims(caller, grant, newcomer_roles(caller, grant));
        }
        // Even after a search that told everything: only what is read after binding may be remembered.
        let user = match &claims {
            Some(claims) if found != MatchedBy::Created => {
                let (user, changed) = self.follow(claims, &sid, deadline).await?;
                found = if changed && found == MatchedBy::Bound { MatchedBy::Synced } else { found };
                user
            }
            _ => self.get(&sid, deadline).await?,
        };
        self.present_as(grant, &user).await?;
        turn.note(user.clone(), claims, asked_at);
        Ok((user, found))
    }

    /// Refuses whoever a source says is inactive under the name that their Flex user has, where their token has another
    /// by now.
    async fn present_as(&self, grant: &MintGrant, user: &FlexUser) -> Result<(), MintError> {
        let key = user.username.key();
        if key == grant.username.key() {
            return Ok(());
        }
        let inactive = self.deactivations.says_inactive(Some(&user.flex_user_sid), Some(&key)).await?;
        if inactive { Err(MintError::Inactive) } else { Ok(()) }
    }

    /// What the caller's token says of them, with these roles, where just-in-time provisioning makes anything of it.
    fn claims(&self, caller: &Caller, grant: &MintGrant, roles: &RoleSet) -> Option<TokenClaims> {
        let heard = grant.just_in_time != JustInTime::Off;
        heard.then(|| TokenClaims::of(caller, &grant.username, roles, &self.clock_rng))
    }

    /// The user, brought in step with the claims where it follows them; and whether that changed it.
    async fn follow(
        &self,
        claims: &TokenClaims,
        user: &FlexUserSid,
        deadline: Deadline,
    ) -> Result<(FlexUser, bool), MintError> {
        match self.ledger.follow(claims, user, deadline).await {
            // Whoever cannot be spared as an administrator keeps the role, and can sign in to appoint another.
            Err(LedgerError::LastAdmin) => Ok((self.get(user, deadline).await?, false)),
            followed => {
                let followed = followed?;
                Ok((followed.user, followed.changed))
            }
        }
    }

    /// The user a trusted service names. Looked up each time: no binding in the store would tell that
    /// they have been deprovisioned meanwhile.
    pub(super) async fn named_user(&self, grant: &MintGrant, deadline: Deadline) -> Result<FlexUser, MintError> {
        let user = self.provisioning.flex().find(&grant.username, deadline).await?.ok_or(MintError::UserUnknown)?;
        if user.is_complete() { Ok(user) } else { self.get(&user.flex_user_sid, deadline).await }
    }

    /// The user as they are now, if they may still be minted for.
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

    /// Binds the caller to the Flex user of their username, made for them where there is none.
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
                // The next search may not show it.
                self.ledger.see(user).await?;
            }
            return Err(MintError::NotAdmitted { user: user.flex_user_sid.clone(), why: NotAdmitted::Deactivated });
        }
        let (sid, found) = match (user, self.claims(caller, grant, newcomer_roles(caller, grant))) {
            (None, Some(claims)) if grant.newcomer.is_some() => {
                let admitted = self.ledger.admit(&claims, None, began, deadline).await?;
                (admitted.user, if admitted.created { MatchedBy::Created } else { MatchedBy::ByUsername })
            }
            (None, _) => return Err(MintError::UserUnknown),
            (Some(user), Some(claims)) => {
                (self.ledger.admit(&claims, Some(&user), began, deadline).await?.user, MatchedBy::ByUsername)
            }
            (Some(user), None) => (user.flex_user_sid, MatchedBy::ByUsername),
        };
        match self.provisioning.bindings().bind(&caller.identity, &sid, self.clock_rng.now()).await? {
            Bound::Yes => Ok((sid, found)),
            Bound::IdentityTaken(_) | Bound::UserTaken => Err(MintError::NotBound),
        }
    }
}

/// The roles of a user who is made for the caller: those that they narrow the token to, or it could not be theirs.
fn newcomer_roles<'a>(caller: &'a Caller, grant: &'a MintGrant) -> &'a RoleSet {
    grant.only_roles.as_ref().unwrap_or(&caller.roles)
}
