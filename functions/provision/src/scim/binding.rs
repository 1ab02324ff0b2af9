//! Binds the users of the SCIM client to the issuer whose tokens contain the client's `externalId`.
//!
//! If a user is bound as soon as it is provisioned, nobody else can claim it with a token that names its username. The
//! settings of the issuer (`scim_external_id`) say that the client's `externalId` is the subject in its tokens.

use flexgate::domain::{FlexUser, FlexUserSid, Identity};
use flexgate::users::ledger::LedgerError;
use serde_json::Value;

use super::protocol::Document;
use super::refusal::{self, Refusal};
use super::users::Users;

impl Users {
    /// Returns the identity that the document's `externalId` stands for, if an issuer has such identities. Refuses an
    /// `externalId` that is another user's, or that cannot be the issuer's. `user` is the user that the document is
    /// about, or `None` if it does not exist yet.
    async fn identity(&self, document: &Document, user: Option<&FlexUserSid>) -> Result<Option<Identity>, Refusal> {
        let Some(external_id) = document.get("externalId").and_then(Value::as_str) else { return Ok(None) };
        let identity = self.issuers.iter().find_map(|issuer| issuer.identity_of_external_id(external_id));
        let Some(identity) = identity.transpose().map_err(|error| refusal::value("externalId", error))? else {
            return Ok(None);
        };
        match self.provisioning.bindings().user_of(&identity).await? {
            Some(bound) if Some(&bound) != user => {
                Err(Refusal::Uniqueness("Another user has this externalId.".to_owned()))
            }
            _ => Ok(Some(identity)),
        }
    }

    /// Checks the `externalId` before anything is changed. Binds the user if it exists already and is active.
    pub(super) async fn bind_before(&self, document: &Document, user: Option<&FlexUser>) -> Result<(), Refusal> {
        let identity = self.identity(document, user.map(|user| &user.flex_user_sid)).await?;
        match (identity, user) {
            (Some(identity), Some(user)) => self.bind(&identity, user).await,
            _ => Ok(()),
        }
    }

    /// Binds the user after it was provisioned or activated.
    pub(super) async fn bind_after(&self, document: &Document, user: &FlexUser) -> Result<(), Refusal> {
        match self.identity(document, Some(&user.flex_user_sid)).await? {
            Some(identity) => self.bind(&identity, user).await,
            None => Ok(()),
        }
    }

    async fn bind(&self, identity: &Identity, user: &FlexUser) -> Result<(), Refusal> {
        match self.ledger.bind_active(identity, user).await {
            Err(LedgerError::Bound) => Err(Refusal::Uniqueness(
                "The Flex user is bound to another identity than that of this externalId. Deactivate the user first, \
                 or send the externalId of before."
                    .to_owned(),
            )),
            bound => Ok(bound?),
        }
    }
}
