//! Provisions, deprovisions, finds, reads, updates and lists users, and finds the account's Flex instance.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::endpoints::Service;
use super::sender::{RetrySafety, TwilioRequest, read};
use super::{Flex, TwilioError, wire};
use crate::base::outbound::Deadline;
use crate::domain::{AccountSid, DesiredUser, Email, FlexUser, FlexUserSid, InstanceSid, Username, WorkspaceSid};

/// The time limit of one provisioning attempt. It is longer than the default, because Twilio also creates a worker.
const PROVISION_ATTEMPT: Duration = Duration::from_secs(6);

/// A page of users.
#[derive(Debug)]
pub struct UserPage {
    /// The users, including deactivated ones.
    pub users: Vec<FlexUser>,
    /// The token of the next page. `None` on the last page.
    pub next_page_token: Option<String>,
}

/// The changes that [`Flex::update`] makes. A field with the value `None` keeps its old value.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserUpdate<'a> {
    /// The e-mail address.
    pub email: Option<&'a Email>,
    /// The locale, such as `en-us`.
    pub locale: Option<&'a str>,
}

/// The account's Flex instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// `AC…`
    pub account_sid: AccountSid,
    /// `GO…`
    pub instance_sid: InstanceSid,
    /// `WS…`, if Twilio returns it.
    pub workspace_sid: Option<WorkspaceSid>,
    /// The runtime domain, if Twilio returns it.
    pub runtime_domain: Option<String>,
}

#[derive(Deserialize)]
struct InstanceConfiguration {
    account_sid: Option<String>,
    flex_instance_sid: Option<String>,
    taskrouter_workspace_sid: Option<String>,
    runtime_domain: Option<String>,
}

impl Flex {
    /// Creates the user, or updates the user with the same username, because Twilio has no request that only creates
    /// users. The request is idempotent.
    pub async fn provision(&self, user: &DesiredUser, deadline: Deadline) -> Result<FlexUser, TwilioError> {
        let worker = match &user.worker_attributes {
            Some(attributes) => json!({ "attributes": attributes }),
            None => json!({}),
        };
        let body = json!({
            "username": user.username,
            "email": user.email,
            "full_name": user.full_name,
            "roles": user.roles,
            "worker": worker,
        });
        let url = self.instance_url("v4", &["Users", "Provision"]);
        let request = TwilioRequest::post_json(url, &body, RetrySafety::Idempotent).attempt_within(PROVISION_ATTEMPT);
        let provisioned =
            read::<wire::User>(&self.send(request, deadline).await?)?.checked(&self.account, &self.instance)?;
        if provisioned.username == user.username {
            Ok(provisioned)
        } else {
            Err(TwilioError::Malformed("it provisioned another username"))
        }
    }

    /// Deactivates the user and removes the user's worker. Twilio cannot delete a user.
    pub async fn deprovision(&self, user: &FlexUserSid, deadline: Deadline) -> Result<(), TwilioError> {
        let url = self.instance_url("v4", &["Users", "Deprovision"]);
        let request = TwilioRequest::post_json(url, &json!({ "flex_user_sid": user }), RetrySafety::Idempotent);
        let answer = self.send(request.attempt_within(PROVISION_ATTEMPT), deadline).await?;
        // A body that is neither empty nor JSON may come from a proxy instead of Twilio. Return an error in that case,
        // because the user may still be active.
        if answer.body.is_empty() { Ok(()) } else { read::<serde::de::IgnoredAny>(&answer).map(drop) }
    }

    /// Returns the user with exactly this username. Usernames are case-sensitive.
    pub async fn find(&self, username: &Username, deadline: Deadline) -> Result<Option<FlexUser>, TwilioError> {
        let mut same = self.search(username, deadline).await?;
        same.retain(|user| user.username == *username);
        match same.len() {
            0 | 1 => Ok(same.pop()),
            _ => Err(TwilioError::Ambiguous),
        }
    }

    /// Returns the user with this username, ignoring case, as SCIM requires. If several users differ only in case,
    /// returns the exact match, or [`TwilioError::Ambiguous`] if there is none.
    pub async fn find_alike(&self, username: &Username, deadline: Deadline) -> Result<Option<FlexUser>, TwilioError> {
        let key = username.key();
        let mut alike = self.search(username, deadline).await?;
        alike.retain(|user| user.username.key() == key);
        if alike.iter().filter(|user| user.username == *username).count() == 1 {
            alike.retain(|user| user.username == *username);
        }
        match alike.len() {
            0 | 1 => Ok(alike.pop()),
            _ => Err(TwilioError::Ambiguous),
        }
    }

    /// Returns all users that Twilio finds for this username, without checking their usernames.
    pub(crate) async fn search(&self, username: &Username, deadline: Deadline) -> Result<Vec<FlexUser>, TwilioError> {
        let mut url = self.instance_url("v4", &["Users"]);
        url.query_pairs_mut().append_pair("Username", username.as_str());
        let answer = match self.send(TwilioRequest::get(url), deadline).await {
            Err(TwilioError::NotFound(error)) if error.code == Some(20404) => return Ok(Vec::new()),
            other => other?,
        };
        let found = read::<wire::Users>(&answer)?.users.ok_or(TwilioError::Malformed("there is no list of users"))?;
        found.into_iter().map(|user| user.checked(&self.account, &self.instance)).collect()
    }

    /// Changes the locale, and the e-mail address if `update` contains one. A provisioning request cannot change the
    /// locale.
    pub async fn update(
        &self,
        user: &FlexUserSid,
        update: &UserUpdate<'_>,
        deadline: Deadline,
    ) -> Result<FlexUser, TwilioError> {
        let url = self.instance_url("v2", &["Users", user.as_str()]);
        let email = update.email.map(|email| ("Email", email.as_str()));
        let locale = update.locale.map(|locale| ("Locale", locale));
        let fields: Vec<_> = email.into_iter().chain(locale).collect();
        let request = TwilioRequest::post_form(url, &fields, RetrySafety::Idempotent);
        let updated =
            read::<wire::User>(&self.send(request, deadline).await?)?.checked(&self.account, &self.instance)?;
        if updated.flex_user_sid == *user { Ok(updated) } else { Err(TwilioError::Malformed("it is another user")) }
    }

    /// Returns the user with that SID.
    pub async fn get(&self, user: &FlexUserSid, deadline: Deadline) -> Result<FlexUser, TwilioError> {
        let url = self.instance_url("v4", &["Users", user.as_str()]);
        let found = read::<wire::User>(&self.send(TwilioRequest::get(url), deadline).await?)?;
        let found = found.checked(&self.account, &self.instance)?;
        if found.flex_user_sid == *user { Ok(found) } else { Err(TwilioError::Malformed("it is another user")) }
    }

    /// Returns one page of all users. `page_size` must be from 1 to 1,000.
    pub async fn list(
        &self,
        page_size: u16,
        page_token: Option<&str>,
        deadline: Deadline,
    ) -> Result<UserPage, TwilioError> {
        // Only v1 can list users.
        let mut url = self.instance_url("v1", &["Users"]);
        url.query_pairs_mut().append_pair("PageSize", &page_size.to_string());
        if let Some(token) = page_token {
            url.query_pairs_mut().append_pair("PageToken", token);
        }
        let page = read::<wire::Users>(&self.send(TwilioRequest::get(url), deadline).await?)?;
        let users = page.users.ok_or(TwilioError::Malformed("there is no list of users"))?;
        let users: Result<_, _> = users.into_iter().map(|user| user.checked(&self.account, &self.instance)).collect();
        Ok(UserPage { users: users?, next_page_token: next_page_token(page.meta) })
    }

    /// Returns the Flex instance of the configured credential's account.
    pub async fn discover(&self, deadline: Deadline) -> Result<Instance, TwilioError> {
        let url = self.sender.url(Service::FlexApi, &["v1", "Configuration"]);
        let answer = read::<InstanceConfiguration>(&self.send(TwilioRequest::get(url), deadline).await?)?;
        let sid = |text: Option<String>| text.ok_or(TwilioError::Malformed("the configuration is incomplete"));
        let account_sid =
            sid(answer.account_sid)?.parse().map_err(|_| TwilioError::Malformed("account_sid is not one"))?;
        let instance_sid = sid(answer.flex_instance_sid)?
            .parse()
            .map_err(|_| TwilioError::Malformed("flex_instance_sid is not one"))?;
        Ok(Instance {
            account_sid,
            instance_sid,
            workspace_sid: answer.taskrouter_workspace_sid.and_then(|sid| sid.parse().ok()),
            runtime_domain: answer.runtime_domain,
        })
    }
}

/// Returns the page token from `next_page_url`. Flexgate does not use the URL itself, because it may belong to another
/// host.
pub(super) fn next_page_token(meta: Option<wire::Meta>) -> Option<String> {
    let url = Url::parse(&meta?.next_page_url?).ok()?;
    url.query_pairs().find(|(name, _)| name == "PageToken").map(|(_, token)| token.into_owned())
}
