//! The client for sign-in through Twilio: the SSO configuration, the authorization URL, the exchange and the refresh.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::json;
use url::Url;

use super::endpoints::Service;
use super::sender::{RetrySafety, TwilioRequest, read};
use super::{Sso, TokenInfo, TwilioError, wire};
use crate::base::outbound::Deadline;
use crate::domain::{AccountSid, InstanceSid, SsoProfileSid};

const APP_TYPE: &str = "SinglePageApp";

/// An active authentication configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SsoConfiguration {
    /// The account.
    #[schema(value_type = String, pattern = "^AC[0-9a-fA-F]{32}$", example = "AC00000000000000000000000000000001")]
    pub account_sid: AccountSid,
    /// The Flex instance.
    #[schema(value_type = String, pattern = "^GO[0-9a-fA-F]{32}$", example = "GO00000000000000000000000000000001")]
    pub instance_sid: InstanceSid,
    /// The SSO profile. Twilio calls it a connection here.
    #[schema(value_type = String, pattern = "^JQ[0-9a-fA-F]{32}$", example = "JQ00000000000000000000000000000001")]
    pub connection_name: SsoProfileSid,
    /// The client id. `state` contains it as the member `connection_name`.
    pub client_id: String,
    /// Always true: Flexgate uses only active configurations.
    pub active: bool,
    /// `SinglePageApp`.
    #[schema(example = "SinglePageApp")]
    pub app_type: String,
}

/// The parameters of the URL that sends a browser to Twilio.
#[derive(Debug)]
pub struct Authorization<'a> {
    /// The callback's URL. It must be one of Twilio's Trusted URLs.
    pub redirect_url: &'a str,
    /// The nonce of this login.
    pub nonce: &'a str,
    /// The login's code verifier. The URL contains only its hash.
    pub code_verifier: &'a SecretString,
    /// The `state` that the sign-in function created.
    pub state: &'a str,
    /// The OIDC parameter `prompt`, such as `login`. Twilio may ignore it.
    pub prompt: Option<&'a str>,
}

/// The tokens of a signed-in person.
#[derive(Debug)]
pub struct SsoTokens {
    /// The access token, for the SDK.
    pub access_token: SecretString,
    /// The refresh token. It may be valid only once. Flexgate sends it only to Twilio.
    pub refresh_token: SecretString,
    /// Twilio's information about the access token.
    pub info: TokenInfo,
}

impl Sso {
    /// Returns a profile's active configuration, or `None` if Twilio has none.
    pub async fn configuration(
        &self,
        profile: &SsoProfileSid,
        deadline: Deadline,
    ) -> Result<Option<SsoConfiguration>, TwilioError> {
        let mut url = self.sender.url(Service::Services, &["v1", "Flex", "Authentication", "Config"]);
        url.query_pairs_mut()
            .append_pair("AccountSid", self.account.as_str())
            .append_pair("FlexInstanceSid", self.instance.as_str())
            .append_pair("RuntimeDomain", "")
            .append_pair("SSOProfileSid", profile.as_str())
            .append_pair("AppType", APP_TYPE);
        let answer = match self.sender.send(&TwilioRequest::get(url), None, deadline).await {
            Err(TwilioError::NotFound(_)) => return Ok(None),
            other => other?,
        };
        let list = read::<wire::Configurations>(&answer)?.config_list;
        let list = list.ok_or(TwilioError::Malformed("there is no list of configurations"))?;
        // Inactive configurations may come first.
        let active = list
            .into_iter()
            .find(|entry| entry.active == Some(true) && entry.connection_name.as_deref() == Some(profile.as_str()));
        let Some(active) = active else { return Ok(None) };
        let ours = active.account_sid.as_deref() == Some(self.account.as_str())
            && active.instance_sid.as_deref() == Some(self.instance.as_str());
        if !ours {
            return Err(TwilioError::Foreign);
        }
        Ok(Some(SsoConfiguration {
            account_sid: self.account.clone(),
            instance_sid: self.instance.clone(),
            connection_name: profile.clone(),
            client_id: active.client_id.ok_or(TwilioError::Malformed("the configuration has no client_id"))?,
            active: true,
            app_type: active.app_type.unwrap_or_else(|| APP_TYPE.to_owned()),
        }))
    }

    /// Builds the URL that sends a browser to Twilio, with the same parameters as Twilio's SDK. The code challenge uses
    /// the method S256. The URL does not name the method, because Twilio always assumes S256.
    #[must_use]
    pub fn authorize_url(&self, profile: &SsoProfileSid, authorization: &Authorization<'_>) -> Url {
        let verifier = authorization.code_verifier.expose_secret().as_bytes();
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier));
        let mut url = self.sender.url(Service::Services, &["v1", "Flex", "Authorize"]);
        url.query_pairs_mut()
            .append_pair("redirectUrl", authorization.redirect_url)
            .append_pair("nonce", authorization.nonce)
            .append_pair("codeChallenge", &challenge)
            .append_pair("state", authorization.state)
            .append_pair("ssoProfileSid", profile.as_str());
        if let Some(prompt) = authorization.prompt {
            url.query_pairs_mut().append_pair("prompt", prompt);
        }
        url
    }

    /// Exchanges the code for tokens. The code is valid only once, so Flexgate retries the request only if Twilio has
    /// not processed it.
    pub async fn exchange(
        &self,
        profile: &SsoProfileSid,
        unverified_code: &SecretString,
        code_verifier: &SecretString,
        nonce: &str,
        deadline: Deadline,
    ) -> Result<SsoTokens, TwilioError> {
        let body = json!({
            "sso_profile_sid": profile,
            "code": unverified_code.expose_secret(),
            "code_verifier": code_verifier.expose_secret(),
            "nonce": nonce,
            "grant_type": "AuthorizationCode",
        });
        self.tokens(&body, deadline).await
    }

    /// Refreshes the tokens. The refresh token may be valid only once, so Flexgate retries the request only if Twilio
    /// has not processed it.
    pub async fn refresh(
        &self,
        profile: &SsoProfileSid,
        refresh_token: &SecretString,
        deadline: Deadline,
    ) -> Result<SsoTokens, TwilioError> {
        let body = json!({
            "refresh_token": refresh_token.expose_secret(),
            "sso_profile_sid": profile,
            "grant_type": "RefreshToken",
        });
        self.tokens(&body, deadline).await
    }

    async fn tokens(&self, body: &serde_json::Value, deadline: Deadline) -> Result<SsoTokens, TwilioError> {
        let url = self.sender.url(Service::Services, &["v1", "Flex", "OAuth", "Tokens"]);
        let request = TwilioRequest::post_json(url, body, RetrySafety::OnlyIfUnprocessed);
        let answer = self.sender.send(&request, None, deadline).await?;
        let tokens = read::<wire::Token>(&answer)?;
        let incomplete = || TwilioError::Malformed("the tokens are incomplete");
        let info = TokenInfo::checked(tokens.token_info.ok_or_else(incomplete)?, &self.account, &self.instance)?;
        if info.expiration <= self.sender.clock_rng().now() {
            return Err(TwilioError::Malformed("the token has expired already"));
        }
        Ok(SsoTokens {
            access_token: tokens.access_token.ok_or_else(incomplete)?,
            refresh_token: tokens.refresh_token.ok_or_else(incomplete)?,
            info,
        })
    }
}
