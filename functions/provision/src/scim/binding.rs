//! Binds SCIM users to identities. An identity consists of an issuer and a subject. Here, the issuer is one with the
//! setting `scim_external_id`, and the subject comes from the user's `externalId`.
//!
//! Once a user is bound, nobody with another identity can mint a token for the user, even with the same username.

use flexgate::domain::{FlexUser, FlexUserSid, Identity};
use flexgate::users::ledger::LedgerError;
use serde_json::Value;

use super::protocol::Document;
use super::refusal::{self, Refusal};
use super::users::Users;

impl Users {
    /// Returns the identity for the document's `externalId`. Returns `None` if the document has no `externalId`, or if
    /// no issuer has the setting `scim_external_id`. Refuses an `externalId` that belongs to another user, or that
    /// cannot be an identity of the issuer. `user` is `None` for a new user.
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

    /// Checks the `externalId` before Flexgate changes anything. If the user already exists and is active, also binds
    /// the user.
    pub(super) async fn bind_before(&self, document: &Document, user: Option<&FlexUser>) -> Result<(), Refusal> {
        let identity = self.identity(document, user.map(|user| &user.flex_user_sid)).await?;
        match (identity, user) {
            (Some(identity), Some(user)) => self.bind(&identity, user).await,
            _ => Ok(()),
        }
    }

    /// Binds the user after provisioning or activation.
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
