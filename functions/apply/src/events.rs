//! Identity events, applied to Flex.
//!
//! An event is judged by what was applied before ([`History`]), then by what Flex says the user is; what
//! is already so is not sent. Only when all is done is the event recorded: one that was interrupted
//! anywhere is simply applied again. A queue that hands out one event of a subject at a time keeps two
//! of them from crossing.

use std::sync::Arc;

use flexgate::base::ambient::Ambient;
use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::Policy;
use flexgate::domain::{
    DesiredUser, Email, FlexUser, FlexUserSid, FullName, History, IdentityEvent, PersonProfile, Username, Verdict,
};
use flexgate::store::{Bound, Recorded, StoreError, Subjects};
use flexgate::twilio::TwilioError;
use flexgate::users::{Provisioning, ProvisioningError};

use crate::roles::granted;

/// How long a username is kept for an event that is being applied, should that fail for good.
const HELD: time::Duration = time::Duration::minutes(10);

/// Applies identity events.
#[derive(Debug)]
pub struct Applying {
    provisioning: Provisioning,
    subjects: Arc<dyn Subjects>,
    policy: Policy,
    ambient: Ambient,
}

/// What applying an event came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What was done.
    pub outcome: Outcome,
    /// To whom, if there is such a Flex user.
    pub user: Option<FlexUserSid>,
    /// Names of roles the event asked for and did not get.
    pub dropped_roles: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something later, or this very event, was applied before. Twilio was not asked.
    Stale,
    /// There is no active Flex user for it to change, and it is not one to make any.
    NoUser,
    /// The user is as it should be already.
    Unchanged,
    /// The user was made.
    Created,
    /// The user was changed or made active again.
    Updated,
    /// The user was deactivated.
    Deactivated,
}

impl Outcome {
    /// For the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::NoUser => "no_user",
            Self::Unchanged => "unchanged",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deactivated => "deactivated",
        }
    }
}

/// Why an event is not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Twilio or the store.
    #[error("Flex could not be brought in step")]
    Provisioning(#[from] ProvisioningError),
    /// Somebody else applied an event of the subject meanwhile.
    #[error("another event of the subject was applied meanwhile")]
    Raced,
    /// A new Flex user needs more than the event says.
    #[error("the event names no {0}, which a new Flex user needs")]
    Incomplete(&'static str),
    /// The Flex user of that username is another person.
    #[error("the Flex user of that username belongs to another subject")]
    UserTaken,
    /// No role is left that the user could have.
    #[error("no role that Flexgate may give is left for the user")]
    NoRole,
    /// Twilio took the user and left it deactivated.
    #[error("Twilio does not make the user active again")]
    StaysDeactivated,
}

impl From<TwilioError> for ApplyError {
    fn from(error: TwilioError) -> Self {
        Self::Provisioning(error.into())
    }
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Provisioning(error.into())
    }
}

impl ApplyError {
    /// Whether trying again later may help. What Twilio or the policy refuses stays refused.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Provisioning(ProvisioningError::Twilio(error)) => {
                !matches!(error, TwilioError::Refused(_) | TwilioError::Ambiguous)
            }
            Self::Provisioning(ProvisioningError::Store(_)) | Self::Raced => true,
            Self::Incomplete(_) | Self::UserTaken | Self::NoRole | Self::StaysDeactivated => false,
        }
    }
}

impl Applying {
    /// Applying over these.
    #[must_use]
    pub fn new(provisioning: Provisioning, subjects: Arc<dyn Subjects>, policy: Policy, ambient: Ambient) -> Self {
        Self { provisioning, subjects, policy, ambient }
    }

    /// Reads ahead what a first event needs of Twilio's credential.
    pub async fn warm(&self, deadline: Deadline) {
        self.provisioning.warm(deadline).await;
    }

    /// Brings Flex in step with the event.
    pub async fn apply(&self, event: &IdentityEvent, deadline: Deadline) -> Result<Applied, ApplyError> {
        let history = self.subjects.history(&event.source, &event.subject.id).await?;
        let nothing = PersonProfile::default();
        let verdict = history.judge(event);
        let applied = match verdict {
            Verdict::Stale => return Ok(Applied { outcome: Outcome::Stale, user: None, dropped_roles: Vec::new() }),
            Verdict::Deactivate => self.deactivate(event, &history, deadline).await?,
            Verdict::Upsert => self.upsert(event, &event.profile, &history, deadline).await?,
            Verdict::Activate => self.upsert(event, &nothing, &history, deadline).await?,
            Verdict::Refresh => match self.known(event, &history, deadline).await? {
                Some(user) if !user.is_deactivated() => self.make(event, &event.profile, Some(user), deadline).await?,
                // Not recorded: it must not stand in the way of the event that makes the user.
                _ => return Ok(Applied { outcome: Outcome::NoUser, user: None, dropped_roles: Vec::new() }),
            },
        };
        let after = history.after(event, verdict, applied.user.clone());
        match self.subjects.record(&event.source, &event.subject.id, &history, &after).await? {
            Recorded::Yes => Ok(applied),
            Recorded::Raced => Err(ApplyError::Raced),
        }
    }

    async fn deactivate(
        &self,
        event: &IdentityEvent,
        history: &History,
        deadline: Deadline,
    ) -> Result<Applied, ApplyError> {
        let found = match self.linked(event, history).await {
            // Whoever is known by their Flex user is signed out at once, whatever Twilio is up to.
            Ok(Some(sid)) => {
                self.provisioning.sessions().end_all_of(&sid).await?;
                self.read(&sid, deadline).await
            }
            Ok(None) => self.named(event, &event.profile, deadline).await,
            Err(error) => Err(error),
        };
        let user = match found {
            // The user is another person by now, and that person has not left.
            Err(ApplyError::UserTaken) => None,
            found => found?,
        };
        let Some(user) = user else {
            return Ok(Applied { outcome: Outcome::NoUser, user: None, dropped_roles: Vec::new() });
        };
        let sid = user.flex_user_sid.clone();
        let outcome = if user.is_deactivated() {
            self.provisioning.sessions().end_all_of(&sid).await?;
            self.provisioning.bindings().unbind(&sid).await?;
            Outcome::Unchanged
        } else {
            self.provisioning.deprovision(&sid, deadline).await?;
            Outcome::Deactivated
        };
        Ok(Applied { outcome, user: Some(sid), dropped_roles: Vec::new() })
    }

    async fn upsert(
        &self,
        event: &IdentityEvent,
        profile: &PersonProfile,
        history: &History,
        deadline: Deadline,
    ) -> Result<Applied, ApplyError> {
        let existing = match self.known(event, history, deadline).await? {
            Some(user) => Some(user),
            None => self.named(event, profile, deadline).await?,
        };
        self.make(event, profile, existing, deadline).await
    }

    /// The Flex user the subject is known to be.
    async fn known(
        &self,
        event: &IdentityEvent,
        history: &History,
        deadline: Deadline,
    ) -> Result<Option<FlexUser>, ApplyError> {
        match self.linked(event, history).await? {
            Some(sid) => self.read(&sid, deadline).await,
            None => Ok(None),
        }
    }

    /// Which that is: by the person's tokens, or by what was applied before.
    async fn linked(&self, event: &IdentityEvent, history: &History) -> Result<Option<FlexUserSid>, ApplyError> {
        let bound = match event.subject.identity() {
            Some(identity) => self.provisioning.bindings().user_of(&identity).await?,
            None => None,
        };
        let Some(sid) = bound.or_else(|| history.user.clone()) else { return Ok(None) };
        if self.subjects.held_by_other(&event.source, &event.subject.id, &sid).await? {
            return Err(ApplyError::UserTaken);
        }
        Ok(Some(sid))
    }

    async fn read(&self, sid: &FlexUserSid, deadline: Deadline) -> Result<Option<FlexUser>, ApplyError> {
        match self.provisioning.flex().get(sid, deadline).await {
            Err(TwilioError::NotFound(_)) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// The Flex user of the username the event names, unless somebody else is that user.
    async fn named(
        &self,
        event: &IdentityEvent,
        profile: &PersonProfile,
        deadline: Deadline,
    ) -> Result<Option<FlexUser>, ApplyError> {
        let Some(username) = &profile.username else { return Ok(None) };
        let flex = self.provisioning.flex();
        let Some(user) = flex.find(username, deadline).await? else { return Ok(None) };
        if self.subjects.held_by_other(&event.source, &event.subject.id, &user.flex_user_sid).await? {
            return Err(ApplyError::UserTaken);
        }
        // A search result often leaves out what the comparison needs.
        Ok(Some(if user.is_complete() { user } else { flex.get(&user.flex_user_sid, deadline).await? }))
    }

    /// Makes the user as the event and the policy want it.
    async fn make(
        &self,
        event: &IdentityEvent,
        profile: &PersonProfile,
        existing: Option<FlexUser>,
        deadline: Deadline,
    ) -> Result<Applied, ApplyError> {
        let granted = granted(&self.policy, profile.unverified_roles.as_deref(), existing.as_ref());
        let desired = DesiredUser {
            username: username(profile, existing.as_ref())?,
            email: email(profile, existing.as_ref())?,
            full_name: full_name(profile, existing.as_ref())?,
            roles: granted.roles,
            worker_attributes: None,
        };
        // Events of two people are applied side by side: of those that name one user, the first wins.
        let (source, subject, now) = (&event.source, &event.subject.id, self.ambient.now());
        if !self.subjects.hold(source, subject, &desired.username, now, now + HELD).await? {
            return Err(ApplyError::UserTaken);
        }
        let applied = |outcome, user| Applied { outcome, user: Some(user), dropped_roles: granted.dropped };
        if let Some(existing) = &existing {
            // Before anything is changed: it may turn out to be somebody else's.
            self.bind(event, &existing.flex_user_sid).await?;
            if !differs(existing, &desired) {
                return Ok(applied(Outcome::Unchanged, existing.flex_user_sid.clone()));
            }
        }
        if desired.roles.is_empty() {
            return Err(ApplyError::NoRole);
        }
        let user = self.provisioning.flex().provision(&desired, deadline).await?;
        if user.is_deactivated() {
            return Err(ApplyError::StaysDeactivated);
        }
        let outcome = if existing.is_some() { Outcome::Updated } else { Outcome::Created };
        self.rebind(event, existing.as_ref(), &user.flex_user_sid).await?;
        Ok(applied(outcome, user.flex_user_sid))
    }

    async fn rebind(
        &self,
        event: &IdentityEvent,
        existing: Option<&FlexUser>,
        user: &FlexUserSid,
    ) -> Result<(), ApplyError> {
        match existing {
            Some(existing) if existing.flex_user_sid == *user => Ok(()),
            Some(existing) => {
                self.provisioning.bindings().unbind(&existing.flex_user_sid).await?;
                self.bind(event, user).await
            }
            None => self.bind(event, user).await,
        }
    }

    async fn bind(&self, event: &IdentityEvent, user: &FlexUserSid) -> Result<(), ApplyError> {
        let Some(identity) = event.subject.identity() else { return Ok(()) };
        match self.provisioning.bindings().bind(&identity, user, self.ambient.now()).await? {
            Bound::Yes => Ok(()),
            Bound::IdentityTaken(_) | Bound::UserTaken => Err(ApplyError::UserTaken),
        }
    }
}

/// A Flex user keeps its username: Twilio knows it by that, whatever the person is called since.
fn username(profile: &PersonProfile, existing: Option<&FlexUser>) -> Result<Username, ApplyError> {
    let kept = existing.map(|user| user.username.clone());
    kept.or_else(|| profile.username.clone()).ok_or(ApplyError::Incomplete("username"))
}

fn email(profile: &PersonProfile, existing: Option<&FlexUser>) -> Result<Email, ApplyError> {
    let kept = || existing.and_then(|user| user.email.as_ref()?.parse().ok());
    let named = || profile.username.as_ref().and_then(|name| name.as_str().parse().ok());
    profile.email.clone().or_else(kept).or_else(named).ok_or(ApplyError::Incomplete("e-mail address"))
}

fn full_name(profile: &PersonProfile, existing: Option<&FlexUser>) -> Result<FullName, ApplyError> {
    let kept = || existing.and_then(|user| user.full_name.as_ref()?.parse().ok());
    let named = || profile.username.as_ref().and_then(|name| name.as_str().parse().ok());
    profile.full_name.clone().or_else(kept).or_else(named).ok_or(ApplyError::Incomplete("full name"))
}

/// Whether there is anything to send. Roles that Flexgate does not know are not its to take away.
fn differs(existing: &FlexUser, desired: &DesiredUser) -> bool {
    let roles = existing.roles.as_ref().is_none_or(|roles| roles.known() != &desired.roles);
    existing.difference(desired).is_some_and(|difference| {
        roles || difference.email || difference.full_name || difference.reactivate || difference.worker
    })
}
