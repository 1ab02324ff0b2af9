//! Twilio's answers before Flexgate checks them. Every field is optional and untrusted.

use serde::Deserialize;

use super::TwilioError;
use crate::domain::{AccountSid, FlexUser, InstanceSid, ObservedRoles};

/// A user in Twilio's answers to provision, get, find and list.
#[derive(Deserialize)]
pub(super) struct User {
    account_sid: Option<String>,
    instance_sid: Option<String>,
    flex_user_sid: Option<String>,
    username: Option<String>,
    email: Option<String>,
    full_name: Option<String>,
    roles: Option<ObservedRoles>,
    locale: Option<String>,
    deactivated: Option<bool>,
    worker_sid: Option<String>,
    worker: Option<Worker>,
    created_date: Option<String>,
    updated_date: Option<String>,
    version: Option<u64>,
}

#[derive(Deserialize)]
struct Worker {
    worker_sid: Option<String>,
}

impl User {
    /// Returns the user if the answer contains a SID and a username. Fails if the user belongs to another account or
    /// instance.
    pub(super) fn checked(self, account: &AccountSid, instance: &InstanceSid) -> Result<FlexUser, TwilioError> {
        let foreign = |said: Option<&str>, ours: &str| said.is_some_and(|said| said != ours);
        if foreign(self.account_sid.as_deref(), account.as_str())
            || foreign(self.instance_sid.as_deref(), instance.as_str())
        {
            return Err(TwilioError::Foreign);
        }
        let sid = self.flex_user_sid.ok_or(TwilioError::Malformed("the user has no flex_user_sid"))?;
        let name = self.username.ok_or(TwilioError::Malformed("the user has no username"))?;
        let worker = self.worker_sid.or_else(|| self.worker.and_then(|worker| worker.worker_sid));
        Ok(FlexUser {
            flex_user_sid: sid.parse().map_err(|_| TwilioError::Malformed("flex_user_sid is not one"))?,
            username: name.parse().map_err(|_| TwilioError::Malformed("the username is not one"))?,
            email: self.email,
            full_name: self.full_name,
            roles: self.roles,
            locale: self.locale,
            deactivated: self.deactivated,
            worker_sid: worker.and_then(|sid| sid.parse().ok()),
            created_date: self.created_date,
            updated_date: self.updated_date,
            version: self.version,
        })
    }
}

/// A page of users.
#[derive(Deserialize)]
pub(super) struct Users {
    pub(super) users: Option<Vec<User>>,
    pub(super) meta: Option<Meta>,
}

#[derive(Deserialize)]
pub(super) struct Workers {
    pub(super) workers: Option<Vec<ListedWorker>>,
    pub(super) meta: Option<Meta>,
}

#[derive(Deserialize)]
pub(super) struct ListedWorker {
    pub(super) sid: Option<String>,
    pub(super) date_status_changed: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Meta {
    pub(super) next_page_url: Option<String>,
}

/// A token's details, as in Twilio's answers to mint, exchange, refresh and Tokens/Info.
#[derive(Deserialize)]
pub(super) struct TokenInfo {
    pub(super) account_sid: Option<String>,
    pub(super) flex_instance_sid: Option<String>,
    pub(super) flex_user_sid: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) username: Option<String>,
    pub(super) roles: Option<ObservedRoles>,
    pub(super) permissions: Option<Vec<String>>,
    pub(super) worker_sid: Option<String>,
    pub(super) expiration: Option<String>,
}

/// The answer to a mint, an exchange or a refresh.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are Twilio's")]
pub(super) struct Token {
    pub(super) access_token: Option<secrecy::SecretString>,
    pub(super) refresh_token: Option<secrecy::SecretString>,
    pub(super) token_info: Option<TokenInfo>,
}

/// The list of SSO configurations.
#[derive(Deserialize)]
pub(super) struct Configurations {
    pub(super) config_list: Option<Vec<Configuration>>,
}

#[derive(Deserialize)]
pub(super) struct Configuration {
    pub(super) account_sid: Option<String>,
    pub(super) instance_sid: Option<String>,
    pub(super) connection_name: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) active: Option<bool>,
    pub(super) app_type: Option<String>,
}
