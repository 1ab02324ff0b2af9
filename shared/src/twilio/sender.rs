//! Sends requests to Twilio with a deadline, and retries them if that is safe.

use std::time::Duration;

use reqwest::{Method, Request, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use super::endpoints::{Endpoints, Service};
use super::error::{TwilioError as Error, TwilioError, refusal};
use crate::base::clock_rng::ClockRng;
use crate::base::outbound::{self, Answer, Deadline, HttpClient};

/// The maximum size of an answer, in bytes. A page of 1,000 users has a few hundred kilobytes.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
const MAX_ATTEMPTS: u32 = 3;
/// The time limit of one attempt. It is so short that there is time for another attempt if a connection hangs.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Which failures allow a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetrySafety {
    /// The request is idempotent: retry after any temporary error.
    Idempotent,
    /// The request contains a code or a token that may be valid only once. Retry only if Twilio has not processed the
    /// request.
    OnlyIfUnprocessed,
}

/// A request to Twilio, without a credential. The sender adds the credential.
pub(super) struct TwilioRequest {
    method: Method,
    url: Url,
    body: Option<(&'static str, SecretString)>,
    safety: RetrySafety,
    attempt: Duration,
}

impl TwilioRequest {
    pub(super) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, body: None, safety: RetrySafety::Idempotent, attempt: ATTEMPT }
    }

    pub(super) fn post_json(url: Url, body: &serde_json::Value, safety: RetrySafety) -> Self {
        let body = Some(("application/json", SecretString::from(body.to_string())));
        Self { method: Method::POST, url, body, safety, attempt: ATTEMPT }
    }

    pub(super) fn post_form(url: Url, fields: &[(&str, &str)], safety: RetrySafety) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let body = Some(("application/x-www-form-urlencoded", SecretString::from(form)));
        Self { method: Method::POST, url, body, safety, attempt: ATTEMPT }
    }

    /// Sets the time limit of one attempt.
    pub(super) fn attempt_within(mut self, attempt: Duration) -> Self {
        self.attempt = attempt;
        self
    }

    fn build(&self, authorization: Option<&header::HeaderValue>) -> Request {
        let mut request = Request::new(self.method.clone(), self.url.clone());
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        if let Some((content_type, body)) = &self.body {
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
            *request.body_mut() = Some(body.expose_secret().to_owned().into());
        }
        request
    }
}

/// Builds the `Authorization` header for HTTP Basic authentication.
pub(super) fn basic(username: &str, password: &SecretString) -> Result<header::HeaderValue, Error> {
    use base64::Engine as _;
    let pair = format!("{username}:{}", password.expose_secret());
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = header::HeaderValue::from_str(&text).map_err(|_| Error::Malformed("a credential is not text"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[derive(Debug)]
pub(super) struct Sender {
    http: HttpClient,
    endpoints: Endpoints,
    clock_rng: ClockRng,
    max_attempts: u32,
}

impl Sender {
    pub(super) fn new(http: HttpClient, endpoints: Endpoints, clock_rng: ClockRng) -> Self {
        Self { http, endpoints, clock_rng, max_attempts: MAX_ATTEMPTS }
    }

    pub(super) fn asking_once(self) -> Self {
        Self { max_attempts: 1, ..self }
    }

    pub(super) fn clock_rng(&self) -> &ClockRng {
        &self.clock_rng
    }

    pub(super) fn url(&self, service: Service, path: &[&str]) -> Url {
        self.endpoints.url(service, path)
    }

    /// Sends the request, with retries, until Twilio answers with a 2xx status. Fails if a retry is unsafe or useless,
    /// or if there is no time left.
    pub(super) async fn send(
        &self,
        request: &TwilioRequest,
        authorization: Option<&header::HeaderValue>,
        deadline: Deadline,
    ) -> Result<Answer, TwilioError> {
        let mut attempt = 1;
        loop {
            let error = match self.once(request, authorization, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = self.pause(attempt, &error);
            if attempt == self.max_attempts || !is_transient(&error, request.safety) || pause >= deadline.remaining() {
                return Err(error);
            }
            tracing::debug!(attempt, error = %error, "retrying a request to Twilio");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Sends one GET request without a credential. Returns the answer, whatever its status is.
    pub(super) async fn look(&self, url: Url, deadline: Deadline) -> Result<Answer, TwilioError> {
        let request = TwilioRequest::get(url).build(None);
        Ok(outbound::send(&self.http, request, deadline.within(ATTEMPT), MAX_ANSWER).await?)
    }

    async fn once(
        &self,
        request: &TwilioRequest,
        authorization: Option<&header::HeaderValue>,
        deadline: Deadline,
    ) -> Result<Answer, TwilioError> {
        let deadline = deadline.within(request.attempt);
        let answer = outbound::send(&self.http, request.build(authorization), deadline, MAX_ANSWER).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(refusal(&answer)) }
    }

    /// Returns the pause before a retry. If Twilio says how long to wait, the pause is that long. Otherwise the pause
    /// is random (full jitter), and at most 0.2 s before the first retry. This maximum doubles with each further retry.
    fn pause(&self, attempt: u32, error: &TwilioError) -> Duration {
        if let TwilioError::Busy(api) | TwilioError::Failing(api) = error
            && let Some(asked) = api.retry_after
        {
            return asked;
        }
        self.clock_rng.jitter(Duration::from_millis(200) * 2_u32.pow(attempt - 1))
    }
}

/// Whether a retry is safe and may help.
fn is_transient(error: &TwilioError, safety: RetrySafety) -> bool {
    let is_temporary = matches!(error, TwilioError::Failing(_) | TwilioError::Lost(_) | TwilioError::Timeout);
    error.was_not_processed() || (is_temporary && safety == RetrySafety::Idempotent)
}

/// Parses a JSON answer. The error contains no part of the answer.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, TwilioError> {
    serde_json::from_slice(&answer.body).map_err(|_| TwilioError::Malformed("it is not the JSON it should be"))
}
