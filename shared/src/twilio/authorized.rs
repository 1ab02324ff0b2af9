//! Requests with the account's credential.

use url::Url;

use super::Flex;
use super::endpoints::Service;
use super::error::TwilioError;
use super::sender::{TwilioRequest, basic};
use crate::base::outbound::{Answer, Deadline};
use crate::telemetry;

impl Flex {
    /// Sends a request with the account's credential. If Twilio rejects that credential, which can happen during a
    /// rotation, retries with another version of the credential's secret.
    pub(super) async fn send(&self, request: TwilioRequest, deadline: Deadline) -> Result<Answer, TwilioError> {
        let mut credential = self.credentials.current(deadline).await?;
        // Retry with at most two other versions.
        let mut left = 2;
        loop {
            if credential.account_sid != self.account {
                return Err(TwilioError::Foreign);
            }
            let authorization = basic(&credential.username, &credential.password)?;
            let rejected = match self.sender.send(&request, Some(&authorization), deadline).await {
                Err(TwilioError::Refused(error)) if error.status == http::StatusCode::UNAUTHORIZED => error,
                other => return other,
            };
            match self.credentials.after_rejection(&credential, deadline).await? {
                Some(next) if left > 0 => credential = next,
                _ => {
                    telemetry::credential_failed();
                    return Err(TwilioError::CredentialRejected(rejected));
                }
            }
            left -= 1;
        }
    }

    /// Builds the URL of a path under this Flex instance.
    pub(super) fn instance_url(&self, version: &str, path: &[&str]) -> Url {
        let mut parts = vec![version, "Instances", self.instance.as_str()];
        parts.extend(path);
        self.sender.url(Service::FlexApi, &parts)
    }
}
