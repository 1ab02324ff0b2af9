//! Outbound HTTP. Every request to an upstream service goes through [`send`], with a client from [`http_client`]. In
//! the simulation tests (`tests/simulation`), a client from [`HttpClient::in_process`] replaces the network.
//!
//! The client never follows redirects. It trusts the public root certificates that are compiled into this program, and
//! gives up a connection attempt after two seconds. `send` stops at the deadline, and refuses a body that is larger
//! than its caller allows.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::redirect;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};

use crate::telemetry;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an unused connection may stay in the pool. Twilio and the issuers close idle connections after about a
/// minute. Flexgate closes them earlier, so it seldom sends a request on a connection that the server has already
/// closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// The time by which an answer must arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the time `duration` from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// Returns the earlier of this deadline and the time `duration` from now.
    #[must_use]
    pub fn within(self, duration: Duration) -> Self {
        self.min(Self::after(duration))
    }

    /// Returns the time left until the deadline, or zero after the deadline.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns the deadline as an instant.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }
}

/// Why the HTTP client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An additional trust root is not a valid certificate.
    #[error("the additional trust root is not a certificate")]
    Root(#[source] rustls::Error),
    /// The TLS library refused its own defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The HTTP library refused its settings.
    #[error("the HTTP client cannot be set up")]
    Http(#[source] reqwest::Error),
}

/// The HTTP client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct HttpClient(Way);

#[derive(Debug, Clone)]
enum Way {
    Network(reqwest::Client),
    #[cfg(feature = "simulation")]
    InProcess(Arc<dyn Transport>),
}

/// Answers requests within this process, in place of the network.
#[cfg(feature = "simulation")]
#[async_trait::async_trait]
pub trait Transport: std::fmt::Debug + Send + Sync {
    /// Answers `request`.
    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, SendError>;
}

#[cfg(feature = "simulation")]
impl HttpClient {
    /// Makes a client whose requests go to `transport`.
    #[must_use]
    pub fn in_process(transport: Arc<dyn Transport>) -> Self {
        Self(Way::InProcess(transport))
    }
}

/// Builds the HTTP client. It trusts the public root certificates and `extra_roots`. Tests pass the simulator's root in
/// `extra_roots`.
pub fn http_client(extra_roots: &[CertificateDer<'static>]) -> Result<HttpClient, ClientError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for root in extra_roots {
        roots.add(root.clone()).map_err(ClientError::Root)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    #[expect(clippy::disallowed_methods, reason = "this is the one constructor")]
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .user_agent(concat!("flexgate/", env!("CARGO_PKG_VERSION")))
        .build()
        .map(|client| HttpClient(Way::Network(client)))
        .map_err(ClientError::Http)
}

/// The answer of an upstream service.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status of the answer.
    pub status: StatusCode,
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// The whole body. It may contain tokens, so never log it.
    pub body: Bytes,
}

/// Why Flexgate got no answer. The error never contains the URL, because a URL may contain a person's name.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Connecting failed. Nothing was sent, so a retry is safe.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke. The upstream service may have received the request.
    #[error("the connection broke before the answer was complete")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The deadline passed. The upstream service may have received the request.
    #[error("no answer in time")]
    Timeout,
    /// The answer is larger than the caller of [`send`] allows.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The largest body that the caller of [`send`] allows, in bytes.
        limit: usize,
    },
}

/// Sends `request` and reads the whole answer before `deadline`. Refuses an answer of more than `limit` bytes.
pub async fn send(
    client: &HttpClient,
    request: reqwest::Request,
    deadline: Deadline,
    limit: usize,
) -> Result<Answer, SendError> {
    let answered = timeout_at(deadline.instant(), exchange(client, request, limit));
    telemetry::upstream(answered).await.unwrap_or(Err(SendError::Timeout))
}

async fn exchange(client: &HttpClient, mut request: reqwest::Request, limit: usize) -> Result<Answer, SendError> {
    if let Some(trace) = telemetry::trace_header() {
        request.headers_mut().insert(telemetry::X_AMZN_TRACE_ID, trace);
    }
    let too_large = SendError::TooLarge { limit };
    #[cfg_attr(
        not(feature = "simulation"),
        expect(clippy::infallible_destructuring_match, reason = "a simulation has a second way")
    )]
    let client = match &client.0 {
        Way::Network(client) => client,
        #[cfg(feature = "simulation")]
        Way::InProcess(transport) => {
            let answer = transport.exchange(request).await?;
            return if answer.body.len() > limit { Err(too_large) } else { Ok(answer) };
        }
    };
    #[expect(clippy::disallowed_methods, reason = "this is the one sender")]
    let mut response = client.execute(request).await.map_err(failure)?;
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > limit {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body: body.into() })
}

fn failure(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    if error.is_connect() {
        SendError::Connect(error.into())
    } else if error.is_timeout() {
        SendError::Timeout
    } else {
        SendError::Broken(error.into())
    }
}
