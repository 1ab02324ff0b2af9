//! Looks people up at Microsoft Graph, because a change notification from Graph does not contain the change itself.

use std::sync::Arc;
use std::time::Duration;

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::{Answer, Deadline, HttpClient, SendError, send};
use flexgate::base::settings::Reader;
use flexgate::domain::{Action, IdentityEvent, PersonProfile};
use flexgate::platform::Platform;
use flexgate::secrets::{CachedSecret, SecretError};
use flexgate::twilio::is_loopback;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Request;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use url::Url;

/// The time limit for one request to Microsoft. It is short, because events from other sources must wait while Flexgate
/// looks a person up.
const PATIENCE: Duration = Duration::from_secs(5);

/// The maximum size of an answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Flexgate renews an access token this long before the token expires.
const RENEWED_BEFORE: Duration = Duration::from_mins(5);

/// The user properties that Flexgate requests from Graph.
const FIELDS: &str = "accountEnabled,displayName,givenName,surname,mail";

/// The id of the secret with the credential, and the URLs of Microsoft's services.
#[derive(Debug, Clone)]
pub struct GraphSettings {
    secret_id: String,
    graph: Url,
    login: Url,
}

impl GraphSettings {
    /// Reads `FLEXGATE_GRAPH_SECRET_ID`, `FLEXGATE_GRAPH_URL` and `FLEXGATE_GRAPH_LOGIN_URL`. If
    /// `FLEXGATE_GRAPH_SECRET_ID` is not set, returns `Some(None)`, and Flexgate looks nobody up.
    pub fn read(reader: &mut Reader) -> Option<Option<Self>> {
        let secret_id = reader.optional("FLEXGATE_GRAPH_SECRET_ID", |text| Ok::<_, std::fmt::Error>(text.to_owned()));
        let graph = base(reader, "FLEXGATE_GRAPH_URL", "https://graph.microsoft.com");
        let login = base(reader, "FLEXGATE_GRAPH_LOGIN_URL", "https://login.microsoftonline.com");
        let (secret_id, graph, login) = (secret_id?, graph?, login?);
        Some(secret_id.map(|secret_id| Self { secret_id, graph, login }))
    }
}

fn base(reader: &mut Reader, variable: &'static str, default: &str) -> Option<Url> {
    let url: Url = reader.or(variable, Url::parse(default).ok()?)?;
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url);
    if is_safe && url.host().is_some() && url.username().is_empty() && url.query().is_none() {
        Some(url)
    } else {
        reader.wrong(variable, "must be an https URL without a query, or http on this machine")
    }
}

/// The content of the secret: the credential of an application in the Entra tenant. The application needs the
/// permission `User.Read.All`.
#[derive(Deserialize)]
struct Credential {
    tenant_id: String,
    client_id: String,
    client_secret: SecretString,
}

/// Why a user could not be looked up. A later attempt may succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GraphError {
    /// The secret is unreadable or malformed.
    #[error("the credential for Microsoft Graph")]
    Secret(#[from] SecretError),
    /// A request got no answer from Graph, or from the service that issues access tokens for Graph.
    #[error("Microsoft Graph does not answer")]
    Send(#[from] SendError),
    /// The sign-in of the application was refused.
    #[error("Microsoft refuses the credential for Graph (status {0})")]
    SignIn(StatusCode),
    /// Graph refused the look-up. The application may lack the permission.
    #[error("Microsoft Graph refuses to show the user (status {0})")]
    Refused(StatusCode),
    /// The answer cannot be read.
    #[error("Microsoft Graph answers something unreadable")]
    Malformed,
}

struct Token {
    value: SecretString,
    /// The tenant id and client id that this token belongs to.
    of: (String, String),
    renewed_at: OffsetDateTime,
}

/// A user in Graph's format. A property without a value is missing or null.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct User {
    account_enabled: Option<bool>,
    display_name: Option<String>,
    given_name: Option<String>,
    surname: Option<String>,
    mail: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    expires_in: u64,
}

/// Looks users up.
pub(crate) struct Graph {
    settings: GraphSettings,
    http: HttpClient,
    credential: CachedSecret<Credential>,
    token: Mutex<Option<Arc<Token>>>,
    clock_rng: ClockRng,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Graph {
    pub(crate) fn new(settings: GraphSettings, platform: &Platform) -> Self {
        let clock = platform.clock_rng.clock.clone();
        let credential = CachedSecret::new(&settings.secret_id, platform.secrets.clone(), clock);
        let (http, clock_rng) = (platform.http.clone(), platform.clock_rng.clone());
        Self { settings, http, credential, token: Mutex::default(), clock_rng }
    }

    /// Adds the person's current profile from Graph to the event. A disabled or deleted account makes the event a
    /// deactivation. An enabled account ends an earlier deactivation. Returns the event unchanged if the person belongs
    /// to another tenant, or if the subject is not a valid id.
    pub(crate) async fn described(
        &self,
        event: &IdentityEvent,
        deadline: Deadline,
    ) -> Result<IdentityEvent, GraphError> {
        let held = self.credential.get(deadline).await?;
        let (tenant, person) = match event.subject.id.as_str().rsplit_once(':') {
            Some((tenant, person)) => (Some(tenant), person),
            None => (None, event.subject.id.as_str()),
        };
        let is_ours = tenant.is_none_or(|tenant| tenant.eq_ignore_ascii_case(&held.value.tenant_id));
        let is_an_id = !person.is_empty() && person.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_ours || !is_an_id {
            return Ok(event.clone());
        }
        let mut answer = self.user(&held.value, person, deadline).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            // Graph refuses the access token, perhaps because an administrator has replaced the secret. Try once more
            // with a new token.
            *self.token.lock().await = None;
            answer = self.user(&held.value, person, deadline).await?;
        }
        // Graph's answer is newer than the notification, so give the event the current time.
        let event = IdentityEvent { occurred_at: self.clock_rng.now(), ..event.clone() };
        match answer.status {
            StatusCode::OK => {
                let user: User = parsed(&answer)?;
                let action = match user.account_enabled {
                    Some(false) => Action::Deactivate,
                    Some(true) => Action::Restore,
                    None => Action::Refresh,
                };
                Ok(IdentityEvent { action, profile: profile(user), ..event })
            }
            // Graph sends this code for a person who does not exist. Any other 404 may come from a proxy.
            StatusCode::NOT_FOUND if code(&answer) == Some("Request_ResourceNotFound".to_owned()) => {
                Ok(IdentityEvent { action: Action::Deactivate, ..event })
            }
            status => Err(GraphError::Refused(status)),
        }
    }

    async fn user(&self, credential: &Credential, person: &str, deadline: Deadline) -> Result<Answer, GraphError> {
        let token = self.token(credential, deadline).await?;
        let mut url = at(&self.settings.graph, &["v1.0", "users", person]);
        url.query_pairs_mut().append_pair("$select", FIELDS);
        let mut request = Request::new(Method::GET, url);
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.value.expose_secret()));
        let mut bearer = bearer.map_err(|_| GraphError::Malformed)?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        Ok(send(&self.http, request, deadline.within(PATIENCE), MAX_ANSWER).await?)
    }

    /// Returns an access token (client-credentials grant, RFC 6749 §4.4). A lock makes concurrent look-ups share one
    /// token.
    async fn token(&self, credential: &Credential, deadline: Deadline) -> Result<Arc<Token>, GraphError> {
        let mut held = self.token.lock().await;
        let now = self.clock_rng.now();
        let of = (credential.tenant_id.clone(), credential.client_id.clone());
        if let Some(token) = held.as_ref().filter(|token| now < token.renewed_at && token.of == of) {
            return Ok(token.clone());
        }
        let mut scope = self.settings.graph.clone();
        scope.set_path("/.default");
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &credential.client_id)
            .append_pair("client_secret", credential.client_secret.expose_secret())
            .append_pair("scope", scope.as_str())
            .finish();
        let url = at(&self.settings.login, &[&credential.tenant_id, "oauth2", "v2.0", "token"]);
        let mut request = Request::new(Method::POST, url);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(form.into());
        let answer = send(&self.http, request, deadline.within(PATIENCE), MAX_ANSWER).await?;
        if answer.status != StatusCode::OK {
            return Err(GraphError::SignIn(answer.status));
        }
        let TokenAnswer { access_token, expires_in } = parsed(&answer)?;
        let lives = Duration::from_secs(expires_in.min(86_400)).saturating_sub(RENEWED_BEFORE);
        let token = Arc::new(Token { value: access_token, of, renewed_at: now + lives });
        *held = Some(token.clone());
        Ok(token)
    }
}

/// Percent-encodes the segments of `path`, and appends them to the `base` URL.
fn at(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().extend(path);
    }
    url
}

/// Returns the error code in Graph's answer.
fn code(answer: &Answer) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    document.pointer("/error/code")?.as_str().map(str::to_owned)
}

fn parsed<T: DeserializeOwned>(answer: &Answer) -> Result<T, GraphError> {
    serde_json::from_slice(&answer.body).map_err(|_| GraphError::Malformed)
}

/// Converts the user to a profile, without values that Flex does not accept.
fn profile(user: User) -> PersonProfile {
    PersonProfile {
        email: user.mail.and_then(|text| text.parse().ok()),
        full_name: user.display_name.and_then(|text| text.trim().parse().ok()),
        given_name: user.given_name.and_then(|text| text.trim().parse().ok()),
        family_name: user.surname.and_then(|text| text.trim().parse().ok()),
        ..PersonProfile::default()
    }
}
