//! Which Flex user a mint is for.

use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::{MintGrant, NotAdmitted};
use flexgate::domain::{Caller, DesiredUser, FlexUser, FlexUserSid, Username};
use flexgate::store::Bound;
use flexgate::twilio::TwilioError;

use super::Minting;
use super::error::{MintError, admit};
use super::found::Found;

/// The largest page that Twilio gives.
const PAGE: u16 = 1_000;

impl Minting {
    /// The caller's Flex user: the one `bound` to their identity, else the one of their username, which
    /// is then bound; else, where that is allowed, a new one.
    pub(super) async fn own_user(
        &self,
        caller: &Caller,
        grant: &MintGrant,
        mut bound: Option<FlexUserSid>,
        deadline: Deadline,
    ) -> Result<(FlexUser, Found), MintError> {
        let identity = &caller.identity;
        let turn = self.memory.turn(identity, self.ambient.now(), deadline).await;
        let mut turn = turn.ok_or(TwilioError::Timeout)?;
        if turn.sid().is_some_and(|seen| Some(seen) != bound.as_ref()) {
            // Whoever had the turn before may have bound them since.
            bound = self.bindings.user_of(identity).await?;
        }
        let asked_at = self.ambient.now();
        let outdated = |user: &FlexUser| grant.sync.as_ref().and_then(|sync| sync.changes(user));
        if let Some(user) = turn.user(bound.as_ref(), asked_at)
            && outdated(user).is_none()
        {
            return Ok((user.clone(), Found::Remembered));
        }
        turn.forget();
        let (sid, mut found) = match bound {
            Some(sid) => (sid, Found::Bound),
            None => self.bind_own(caller, grant, deadline).await?,
        };
        // Even after a search that told everything: only what is read after binding may be remembered.
        let mut user = self.get(&sid, deadline).await?;
        if let Some(desired) = outdated(&user) {
            user = self.update(&user, &desired, deadline).await?;
            found = if found == Found::Bound { Found::Synced } else { found };
        }
        turn.note(user.clone(), asked_at);
        Ok((user, found))
    }

    /// The user a trusted service names. Looked up each time: no binding in the store would tell that
    /// they have been deprovisioned meanwhile.
    pub(super) async fn named_user(&self, grant: &MintGrant, deadline: Deadline) -> Result<FlexUser, MintError> {
        let user = self.flex.find(&grant.username, deadline).await?.ok_or(MintError::UserUnknown)?;
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
            self.memory.forget(&caller.identity);
        }
        let user = self.get(&seen.flex_user_sid, deadline).await?;
        admit(grant, &user)?;
        Ok(user)
    }

    async fn get(&self, sid: &FlexUserSid, deadline: Deadline) -> Result<FlexUser, MintError> {
        match self.flex.get(sid, deadline).await {
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
    ) -> Result<(FlexUserSid, Found), MintError> {
        let (user, found) = match (self.flex.find(&grant.username, deadline).await?, &grant.newcomer) {
            (Some(user), _) => (user, Found::ByUsername),
            (None, Some(newcomer)) => (self.create(newcomer, deadline).await?, Found::Created),
            (None, None) => return Err(MintError::UserUnknown),
        };
        let sid = user.flex_user_sid;
        if user.deactivated == Some(true) {
            return Err(MintError::NotAdmitted { user: sid, why: NotAdmitted::Deactivated });
        }
        match self.bindings.bind(&caller.identity, &sid, self.ambient.now()).await? {
            Bound::Yes => Ok((sid, found)),
            Bound::IdentityTaken(_) | Bound::UserTaken => Err(MintError::NotBound),
        }
    }

    async fn create(&self, newcomer: &DesiredUser, deadline: Deadline) -> Result<FlexUser, MintError> {
        if self.is_taken(&newcomer.username, deadline).await? {
            return Err(MintError::NameTaken);
        }
        Ok(self.flex.provision(newcomer, deadline).await?)
    }

    /// Whether anybody at all has the name, in whatever case, deactivated or not. A search may not show
    /// them, and provisioning would bring them back to life or write over them.
    async fn is_taken(&self, username: &Username, deadline: Deadline) -> Result<bool, MintError> {
        let folded = |username: &Username| username.as_str().to_lowercase();
        let wanted = folded(username);
        let mut next: Option<String> = None;
        loop {
            let page = self.flex.list(PAGE, next.as_deref(), deadline).await?;
            if page.users.iter().any(|user| folded(&user.username) == wanted) {
                return Ok(true);
            }
            match page.next_page_token {
                None => return Ok(false),
                repeated if repeated == next => {
                    return Err(TwilioError::Malformed("its list of users goes round in circles").into());
                }
                following => next = following,
            }
        }
    }

    /// Brings the user up to date; what Twilio then says of them.
    async fn update(&self, user: &FlexUser, desired: &DesiredUser, deadline: Deadline) -> Result<FlexUser, MintError> {
        let updated = self.flex.provision(desired, deadline).await?;
        if updated.flex_user_sid != user.flex_user_sid {
            return Err(TwilioError::Malformed("it updated another user").into());
        }
        if updated.is_complete() { Ok(updated) } else { self.get(&user.flex_user_sid, deadline).await }
    }
}
