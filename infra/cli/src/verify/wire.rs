//! Sends single requests to Twilio, and returns what the Flex client hides: statuses, error codes and missing fields.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::{Answer, Deadline, HttpClient, SendError, send};
use flexgate::twilio::{Endpoints, Service};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderValue, Method};
use reqwest::Request;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use url::Url;

use crate::operator::Operator;

/// The time limit of one request. Twilio needs seconds to provision a user, because it also creates a worker.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// How many times a request is sent if Twilio keeps answering 429. Twilio has not processed such a request, so it may
/// be sent again.
const ATTEMPTS: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Sends requests to the configured account.
#[derive(Clone)]
pub struct Wire {
    http: HttpClient,
    endpoints: Endpoints,
    clock_rng: ClockRng,
    credential: HeaderValue,
    pub account: String,
    pub instance: String,
    /// Whether no further request may be sent.
    stopped: Arc<AtomicBool>,
}

/// An answer that Twilio itself gave. A success (2xx) has a JSON body or an empty one. An error has a Twilio error
/// code.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub code: Option<u64>,
    pub body: Value,
    /// The time at Twilio.
    at: OffsetDateTime,
}

/// Why there is no usable answer.
#[derive(Debug)]
pub enum Silence {
    Stopped,
    NotSent,
    Lost,
    Timeout,
    TooLarge,
    Credential(Option<u64>),
    Busy,
    Failing(u16),
    /// The answer is not JSON, or it is an error without a Twilio error code.
    Garbage(u16),
}

impl Wire {
    /// Reads the account's credential.
    pub async fn of(operator: &Operator) -> Result<Self, Box<dyn std::error::Error>> {
        let held = operator.credential().await?;
        let common = &operator.common;
        if held.account_sid != common.account {
            return Err("the Twilio credential belongs to another account than TWILIO_ACCOUNT_SID".into());
        }
        Ok(Self {
            http: operator.http().clone(),
            endpoints: common.endpoints.clone(),
            clock_rng: operator.clock_rng().clone(),
            credential: basic(&held.username, &held.password)?,
            account: common.account.to_string(),
            instance: common.instance.to_string(),
            stopped: Arc::default(),
        })
    }

    /// Lets the request in progress finish, and refuses all further requests through this value and its clones.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Returns a copy that [`Wire::stop`] does not affect.
    pub fn unstoppable(&self) -> Self {
        Self { stopped: Arc::default(), ..self.clone() }
    }

    /// Whether the simulator answers instead of Twilio. The request for this check contains no credential.
    pub async fn is_simulator(&self) -> bool {
        let Some(url) = self.endpoints.stand_in().and_then(|url| url.join("/__sim").ok()) else { return false };
        let answer = self.ask(&Method::GET, &url, None, None).await;
        answer.is_ok_and(|seen| seen.body["controls"].is_array() && seen.text("/account_sid") == Some(&self.account))
    }

    pub fn clock_rng(&self) -> &ClockRng {
        &self.clock_rng
    }

    pub fn url(&self, service: Service, path: &[&str]) -> Url {
        self.endpoints.url(service, path)
    }

    /// Returns the URL of a path under `Users`.
    pub fn users(&self, version: &str, rest: &[&str]) -> Url {
        self.url(Service::FlexApi, &[&[version, "Instances", &self.instance, "Users"], rest].concat())
    }

    /// Searches for a user by username.
    pub async fn find(&self, username: &str) -> Result<Seen, Silence> {
        let mut url = self.users("v4", &[]);
        url.query_pairs_mut().append_pair("Username", username);
        self.get(url).await
    }

    /// Sends a GET request with the account's credential.
    pub async fn get(&self, url: Url) -> Result<Seen, Silence> {
        self.ask(&Method::GET, &url, Some(&self.credential), None).await
    }

    /// Sends JSON with the account's credential.
    pub async fn post(&self, url: Url, body: &Value) -> Result<Seen, Silence> {
        self.ask(&Method::POST, &url, Some(&self.credential), Some((JSON, body.to_string()))).await
    }

    /// Sends a form with the account's credential.
    pub async fn post_form(&self, url: Url, fields: &[(&str, &str)]) -> Result<Seen, Silence> {
        self.ask(&Method::POST, &url, Some(&self.credential), Some((FORM, form(fields)))).await
    }

    /// Sends JSON without a credential.
    pub async fn post_openly(&self, url: Url, body: &Value) -> Result<Seen, Silence> {
        self.ask(&Method::POST, &url, None, Some((JSON, body.to_string()))).await
    }

    /// Asks Tokens/Info about a token, with the token as the credential.
    pub async fn token_info(&self, token: &SecretString) -> Result<Seen, Silence> {
        let url = self.url(Service::FlexApi, &["v1", "Accounts", &self.account, "Tokens", "Info"]);
        let credential = basic("token", token).map_err(|_| Silence::NotSent)?;
        let body = form(&[("Token", token.expose_secret())]);
        self.ask(&Method::POST, &url, Some(&credential), Some((FORM, body))).await
    }

    async fn ask(
        &self,
        method: &Method,
        url: &Url,
        credential: Option<&HeaderValue>,
        body: Option<(&'static str, String)>,
    ) -> Result<Seen, Silence> {
        for attempt in 1..=ATTEMPTS {
            if self.stopped.load(Ordering::Acquire) {
                return Err(Silence::Stopped);
            }
            let mut request = Request::new(method.clone(), url.clone());
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(JSON));
            if let Some(credential) = credential {
                request.headers_mut().insert(AUTHORIZATION, credential.clone());
            }
            if let Some((kind, body)) = &body {
                request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                *request.body_mut() = Some(body.clone().into());
            }
            let answer = send(&self.http, request, Deadline::after(PATIENCE), MAX_ANSWER).await?;
            if answer.status.as_u16() != 429 {
                return self.judged(&answer, credential == Some(&self.credential));
            }
            if attempt < ATTEMPTS {
                tokio::time::sleep(pause(&answer, attempt)).await;
            }
        }
        Err(Silence::Busy)
    }

    fn judged(&self, answer: &Answer, as_account: bool) -> Result<Seen, Silence> {
        let status = answer.status.as_u16();
        if answer.status.is_server_error() {
            return Err(Silence::Failing(status));
        }
        let body = if answer.body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice::<Value>(&answer.body) };
        let body = body.map_err(|_| Silence::Garbage(status))?;
        let code = body.get("code").and_then(Value::as_u64).filter(|code| *code > 0);
        // The codes 20101 to 20106 are about a token in the request, not about the account's credential.
        if as_account && status == 401 && !code.is_some_and(|code| (20_101..=20_106).contains(&code)) {
            return Err(Silence::Credential(code));
        }
        if !answer.status.is_success() && code.is_none() {
            return Err(Silence::Garbage(status));
        }
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        Ok(Seen { status, code, body, at: date.unwrap_or_else(|| self.clock_rng.now()) })
    }
}

impl Seen {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the text at a JSON pointer such as `/worker/worker_sid`.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer).and_then(Value::as_str)
    }

    /// Returns the SID of the provisioned user if the answer is about this username.
    pub fn sid_of(&self, username: &str) -> Option<&str> {
        self.text("/flex_user_sid").filter(|_| self.is_success() && self.text("/username") == Some(username))
    }

    /// Returns the token of a mint.
    pub fn token(&self) -> Option<SecretString> {
        self.text("/access_token").map(SecretString::from)
    }

    /// Returns for how many seconds a minted token is valid.
    pub fn lifetime(&self) -> Option<i64> {
        let expiration = OffsetDateTime::parse(self.text("/token_info/expiration")?, &Rfc3339).ok()?;
        Some((expiration - self.at).whole_seconds())
    }

    /// Returns the users of a search.
    pub fn found(&self) -> Option<&[Value]> {
        self.body.get("users").and_then(Value::as_array).map(Vec::as_slice)
    }
}

impl Display for Seen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        self.code.map_or(Ok(()), |code| write!(f, ", code {code}"))
    }
}

impl From<SendError> for Silence {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Connect(_) => Self::NotSent,
            SendError::Broken(_) => Self::Lost,
            SendError::Timeout => Self::Timeout,
            SendError::TooLarge { .. } => Self::TooLarge,
        }
    }
}

impl Display for Silence {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => write!(f, "flexgate verify was stopped"),
            Self::NotSent => write!(f, "Twilio cannot be reached"),
            Self::Lost => write!(f, "the connection broke before Twilio's answer was complete"),
            Self::Timeout => write!(f, "Twilio did not answer within {} s", PATIENCE.as_secs()),
            Self::TooLarge => write!(f, "Twilio's answer is too large"),
            Self::Credential(code) => {
                let code = code.map_or_else(String::new, |code| format!(", code {code}"));
                write!(f, "Twilio does not accept the credential (status 401{code}): see flexgate doctor")
            }
            Self::Busy => write!(f, "Twilio limits the rate (status 429)"),
            Self::Failing(status) => write!(f, "Twilio is failing (status {status})"),
            Self::Garbage(status) => write!(f, "the answer is not Twilio's (status {status}): is a proxy in between?"),
        }
    }
}

/// Returns how long to wait after a 429. The answer's header `Retry-After` determines the pause. Without this header,
/// the pause doubles with each attempt. In both cases, the pause is at most `LONGEST_PAUSE`.
fn pause(answer: &Answer, attempt: u32) -> Duration {
    let asked = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    asked.map_or(Duration::from_millis(250) * 2_u32.pow(attempt - 1), Duration::from_secs).min(LONGEST_PAUSE)
}

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn basic(username: &str, password: &SecretString) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}"))?;
    value.set_sensitive(true);
    Ok(value)
}
