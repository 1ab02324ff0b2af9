//! Saves time for a caller who is already bound to a Flex user: reads the user and mints the token at the same time.

use flexgate::base::outbound::Deadline;
use flexgate::domain::policy::MintGrant;
use flexgate::domain::{Caller, FlexUser, FlexUserSid};
use flexgate::twilio::{MintedToken, TwilioError};

use super::Minting;
use super::error::{MintError, admit};
use super::matched_by::MatchedBy;

/// Twilio's answer to a mint.
type Answer = Result<MintedToken, TwilioError>;

impl Minting {
    /// Returns the caller's Flex user, if the policy allows a token for that user. If the caller is already bound, also
    /// mints at the same time and returns Twilio's answer.
    ///
    /// Discards the token if the policy forbids a token for the user, if the caller turns out to be bound to a
    /// different user, or if this call changed the user.
    pub(super) async fn own_user_and_token(
        &self,
        caller: &Caller,
        grant: &MintGrant,
        bound: Option<FlexUserSid>,
        deadline: Deadline,
        discarded: &mut bool,
    ) -> Result<(FlexUser, MatchedBy, Option<Answer>), MintError> {
        let Some(sid) = bound.clone() else {
            // Do not mint before the caller is bound to the user.
            let (user, found) = self.own_user(caller, grant, None, deadline).await?;
            admit(grant, &user)?;
            return Ok((user, found, None));
        };
        let own = self.own_user(caller, grant, bound, deadline);
        let (own, minted) = tokio::join!(own, self.provisioning.flex().mint(&sid, grant.ttl, deadline));
        let own = own.and_then(|(user, found)| admit(grant, &user).map(|()| (user, found)));
        let is_usable = own.as_ref().is_ok_and(|(user, found)| {
            user.flex_user_sid == sid && matches!(found, MatchedBy::Remembered | MatchedBy::Bound)
        });
        *discarded = minted.is_ok() && !is_usable;
        own.map(|(user, found)| (user, found, is_usable.then_some(minted)))
    }
}
