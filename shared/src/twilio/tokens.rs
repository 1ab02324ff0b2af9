//! Mints tokens and reads their details.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::endpoints::Service;
use super::sender::{RetrySafety, TwilioRequest, basic, read};
use super::{Flex, Sso, TwilioError, wire};
use crate::base::outbound::Deadline;
use crate::domain::{AccountSid, FlexUserSid, InstanceSid, ObservedRoles, TokenTtl, WorkerSid};

/// What Twilio says about a token. Flexgate has checked that the token is for the configured account and instance.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct TokenInfo {
    /// The account.
    #[schema(value_type = String, pattern = "^AC[0-9a-fA-F]{32}$", example = "AC00000000000000000000000000000001")]
    pub account_sid: AccountSid,
    /// The Flex instance.
    #[schema(value_type = String, pattern = "^GO[0-9a-fA-F]{32}$", example = "GO00000000000000000000000000000001")]
    pub flex_instance_sid: InstanceSid,
    /// Whose token it is.
    #[schema(value_type = String, pattern = "^FU[0-9a-fA-F]{32}$", example = "FU00000000000000000000000000000001")]
    pub flex_user_sid: FlexUserSid,
    /// The identity in Twilio's other products (`ada_40example_2Ecom`).
    #[schema(required)]
    pub identity: Option<String>,
    /// The username, if Twilio gives it.
    #[schema(required, example = "ada")]
    pub username: Option<String>,
    /// The roles.
    #[schema(value_type = Vec<String>, example = json!(["agent"]))]
    pub roles: ObservedRoles,
    /// Twilio's permission codes.
    pub permissions: Vec<String>,
    /// The `TaskRouter` worker, if Twilio gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^WK[0-9a-fA-F]{32}$", nullable = false)]
    pub worker_sid: Option<WorkerSid>,
    /// When the token expires.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime, example = "2026-11-24T08:00:00Z")]
    pub expiration: OffsetDateTime,
}

impl TokenInfo {
    /// Returns the token's details if they are complete and belong to the configured account and instance.
    pub(super) fn checked(
        info: wire::TokenInfo,
        account: &AccountSid,
        instance: &InstanceSid,
    ) -> Result<Self, TwilioError> {
        const INCOMPLETE: TwilioError = TwilioError::Malformed("the token's information is incomplete");
        let (said_account, said_instance) =
            (info.account_sid.ok_or(INCOMPLETE)?, info.flex_instance_sid.ok_or(INCOMPLETE)?);
        if said_account != account.as_str() || said_instance != instance.as_str() {
            return Err(TwilioError::Foreign);
        }
        let user = info.flex_user_sid.ok_or(INCOMPLETE)?;
        Ok(Self {
            account_sid: account.clone(),
            flex_instance_sid: instance.clone(),
            flex_user_sid: user.parse().map_err(|_| TwilioError::Malformed("flex_user_sid is not one"))?,
            identity: info.identity,
            username: info.username,
            roles: info.roles.ok_or(INCOMPLETE)?,
            permissions: info.permissions.unwrap_or_default(),
            worker_sid: info.worker_sid.and_then(|sid| sid.parse().ok()),
            expiration: OffsetDateTime::parse(&info.expiration.ok_or(INCOMPLETE)?, &Rfc3339)
                .map_err(|_| TwilioError::Malformed("the expiration is not a time"))?,
        })
    }
}

/// A new token.
#[derive(Debug)]
pub struct MintedToken {
    /// The token.
    pub access_token: SecretString,
    /// Twilio's information about the token.
    pub info: TokenInfo,
}

impl Flex {
    /// Mints a token for a user, without a refresh token. If Twilio's answer is lost, this method mints another token.
    /// That is safe, because nobody has received the lost one.
    pub async fn mint(
        &self,
        user: &FlexUserSid,
        ttl: TokenTtl,
        deadline: Deadline,
    ) -> Result<MintedToken, TwilioError> {
        let url = self.instance_url("v4", &["Users", user.as_str(), "Tokens"]);
        let request = TwilioRequest::post_json(url, &json!({ "ttl": ttl.seconds() }), RetrySafety::Idempotent);
        let token = read::<wire::Token>(&self.send(request, deadline).await?)?;
        let incomplete = || TwilioError::Malformed("the token is incomplete");
        let info = TokenInfo::checked(token.token_info.ok_or_else(incomplete)?, &self.account, &self.instance)?;
        Ok(MintedToken { access_token: token.access_token.ok_or_else(incomplete)?, info })
    }
}

impl Sso {
    /// Asks Twilio for a token's details (Tokens/Info). The token itself is the credential.
    ///
    /// Returns [`TwilioError::Refused`] if the token is invalid. The caller must check the expiration, because Twilio
    /// may accept an expired token.
    pub async fn token_info(&self, token: &SecretString, deadline: Deadline) -> Result<TokenInfo, TwilioError> {
        let url = self.sender.url(Service::FlexApi, &["v1", "Accounts", self.account.as_str(), "Tokens", "Info"]);
        let request = TwilioRequest::post_form(url, &[("Token", token.expose_secret())], RetrySafety::Idempotent);
        let authorization = basic("token", token)?;
        let answer = self.sender.send(&request, Some(&authorization), deadline).await?;
        TokenInfo::checked(read(&answer)?, &self.account, &self.instance)
    }
}
