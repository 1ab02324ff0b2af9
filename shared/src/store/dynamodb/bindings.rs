//! Bindings in DynamoDB. A binding has two items: one under the identity, one under the Flex user. Each transaction
//! writes or removes both items.

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{DynamoStore, TRIES, Transacted, crowded, item_of, parsed, pause, s, seconds, text};
use crate::domain::{FlexUserSid, Identity};
use crate::store::{Bindings, Bound, StoreError, fingerprint};

const BINDING: &str = "binding";

fn identity_pk(identity: &Identity) -> String {
    format!("identity#{}", fingerprint(&[&identity.issuer, &identity.subject]))
}

fn user_pk(user: &FlexUserSid) -> String {
    format!("user#{user}")
}

#[async_trait]
impl Bindings for DynamoStore {
    async fn user_of(&self, identity: &Identity) -> Result<Option<FlexUserSid>, StoreError> {
        let item = self.item(&identity_pk(identity), BINDING).await?;
        item.map(|item| parsed(&item, "flex_user_sid")).transpose()
    }

    async fn bind(&self, identity: &Identity, user: &FlexUserSid, now: OffsetDateTime) -> Result<Bound, StoreError> {
        let (identity_key, user_key) = (identity_pk(identity), user_pk(user));
        for tried in 0..TRIES {
            if let Some(bound) = self.user_of(identity).await? {
                return Ok(if bound == *user { Bound::Yes } else { Bound::IdentityTaken(bound) });
            }
            if let Some(item) = self.item(&user_key, BINDING).await? {
                // Another request may have made the same binding after this function read the identity. In that case,
                // the function has nothing left to do.
                let is_own = text(&item, "identity_key")? == identity_key;
                return Ok(if is_own { Bound::Yes } else { Bound::UserTaken });
            }
            let bound_at = || ("bound_at", seconds(now));
            let by_identity = item_of(&identity_key, BINDING, [("flex_user_sid", s(user.as_str())), bound_at()]);
            let by_user = item_of(&user_key, BINDING, [("identity_key", s(identity_key.as_str())), bound_at()]);
            let new = Some("attribute_not_exists(pk)");
            match self.transact(vec![self.put(by_identity, new)?, self.put(by_user, new)?]).await? {
                Transacted::Yes => return Ok(Bound::Yes),
                Transacted::No => pause(tried).await,
            }
        }
        Err(crowded())
    }

    async fn unbind_identity(&self, identity: &Identity, user: &FlexUserSid) -> Result<(), StoreError> {
        self.unbind_if(user, |bound| bound == identity_pk(identity)).await
    }

    async fn unbind(&self, user: &FlexUserSid) -> Result<(), StoreError> {
        self.unbind_if(user, |_| true).await
    }
}

impl DynamoStore {
    /// Removes the binding of a Flex user if `removes` returns true for the key of the bound identity.
    async fn unbind_if(&self, user: &FlexUserSid, removes: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let user_key = user_pk(user);
        for tried in 0..TRIES {
            let Some(item) = self.item(&user_key, BINDING).await? else { return Ok(()) };
            let identity = text(&item, "identity_key")?;
            if !removes(identity) {
                return Ok(());
            }
            let by_identity = self.delete(identity, BINDING, Some(("flex_user_sid", s(user.as_str()))))?;
            let by_user = self.delete(&user_key, BINDING, Some(("identity_key", s(identity))))?;
            match self.transact(vec![by_identity, by_user]).await? {
                Transacted::Yes => return Ok(()),
                Transacted::No => pause(tried).await,
            }
        }
        Err(crowded())
    }
}
