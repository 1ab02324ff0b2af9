//! Diagnostic requests: the time at Twilio, and whether Twilio accepts a redirect URL.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::DATE;
use secrecy::SecretString;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::endpoints::Service;
use super::{Authorization, Sso, SsoConfiguration, TwilioError};
use crate::base::outbound::Deadline;

/// The reaction of Twilio's Authorize endpoint to a redirect URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectUrl {
    /// Twilio accepts the URL: it redirects the browser to the sign-in.
    Trusted,
    /// Twilio refuses the URL, usually with the error code 70251. Either the URL is not one of the Trusted URLs in the
    /// SSO settings, or something else in these settings is wrong.
    Untrusted,
    /// Twilio's answer is unclear. The number is the HTTP status.
    Unclear(u16),
}

impl Sso {
    /// Checks whether Twilio accepts `redirect_url`. To find out, Flexgate begins a sign-in that it never completes.
    pub async fn probe_redirect_url(
        &self,
        configuration: &SsoConfiguration,
        redirect_url: &str,
        deadline: Deadline,
    ) -> Result<RedirectUrl, TwilioError> {
        let clock_rng = self.sender.clock_rng();
        let state = json!({ "connection_name": configuration.client_id, "redirect_url": redirect_url });
        let authorization = Authorization {
            redirect_url,
            nonce: &URL_SAFE_NO_PAD.encode(clock_rng.random::<24>()),
            code_verifier: &SecretString::from(URL_SAFE_NO_PAD.encode(clock_rng.random::<48>())),
            state: &URL_SAFE_NO_PAD.encode(state.to_string()),
            prompt: None,
        };
        let url = self.authorize_url(&configuration.connection_name, &authorization);
        let answer = self.sender.look(url, deadline).await?;
        // If Twilio refuses the URL, it answers with an HTML page that contains the error code.
        let refused = answer.body.windows(5).any(|text| text == b"70251");
        let location = answer.headers.get(http::header::LOCATION);
        let told = location.is_some_and(|location| location.as_bytes().windows(5).any(|text| text == b"70251"));
        Ok(match answer.status {
            _ if told => RedirectUrl::Untrusted,
            status if status.is_redirection() => RedirectUrl::Trusted,
            status if refused || status.as_u16() == 403 => RedirectUrl::Untrusted,
            status => RedirectUrl::Unclear(status.as_u16()),
        })
    }

    /// Returns Twilio's current time in whole seconds, from the `Date` header of an answer. Returns `None` without the
    /// header.
    pub async fn probe_time(&self, deadline: Deadline) -> Result<Option<OffsetDateTime>, TwilioError> {
        let url = self.sender.url(Service::Services, &["v1", "Flex", "Authentication", "Config"]);
        let answer = self.sender.look(url, deadline).await?;
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()))
    }
}
