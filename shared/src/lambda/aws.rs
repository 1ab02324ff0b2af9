//! The configuration of the AWS clients, with credentials, region and endpoint from the environment. The clients'
//! timeouts are shorter than the functions' timeouts. So a function can still answer 503 if AWS does not respond.
//!
//! The AWS SDK sends its requests through Flexgate's own HTTP client. A second HTTP client would make each cold start
//! slower.

use std::sync::Arc;
use std::time::Duration;

#[cfg(not(feature = "local"))]
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
#[cfg(not(feature = "local"))]
use aws_types::{app_name::AppName, region::Region};
use tokio::sync::OnceCell;

use crate::base::outbound::{self, Deadline, HttpClient, SendError};

/// The timeout of one attempt, including connecting. DynamoDB, SQS and Secrets Manager usually answer in tens of
/// milliseconds.
const TRY: Duration = Duration::from_millis(1_500);

/// The timeout of all attempts together. It is shorter than the timeout of every function.
const OPERATION: Duration = Duration::from_secs(4);

/// The largest answer that Flexgate reads from AWS, in bytes. DynamoDB returns at most 16 MB, and encodes binary data
/// as base64.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// The configuration of every AWS client. The first use reads the environment, and all clones share the result.
#[derive(Debug, Clone)]
pub struct Aws {
    http: HttpClient,
    /// The timeouts of one attempt, and of all attempts together.
    timeouts: (Duration, Duration),
    config: Arc<OnceCell<SdkConfig>>,
}

impl Aws {
    /// Makes a configuration whose clients send their requests through `http`. Does not read the environment yet.
    #[must_use]
    pub fn new(http: HttpClient) -> Self {
        Self { http, timeouts: (TRY, OPERATION), config: Arc::default() }
    }

    /// Sets the timeouts of one attempt and of all attempts together. Tests use this for an emulator on a busy machine.
    #[must_use]
    pub fn with_timeouts(self, attempt: Duration, operation: Duration) -> Self {
        Self { timeouts: (attempt, operation), ..self }
    }

    /// Returns the configuration of every AWS client.
    pub async fn config(&self) -> &SdkConfig {
        self.config.get_or_init(|| load(self.http_client(), self.timeouts())).await
    }

    /// Returns the HTTP client in the form that the SDK expects. The client takes the timeout for one attempt from the
    /// `read_timeout` of the SDK's configuration.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        let http = self.http.clone();
        http_client_fn(move |settings, _| {
            let attempt = settings.read_timeout().unwrap_or(TRY);
            SharedHttpConnector::new(Connector { http: http.clone(), attempt })
        })
    }

    fn timeouts(&self) -> TimeoutConfig {
        let (attempt, operation) = self.timeouts;
        let timeouts = TimeoutConfig::builder().read_timeout(attempt).operation_attempt_timeout(attempt);
        timeouts.operation_timeout(operation).build()
    }
}

/// Loads the SDK's default configuration. The SDK looks in the environment, in AWS profiles, and in the metadata
/// services of containers and machines.
#[cfg(feature = "local")]
async fn load(http: SharedHttpClient, timeouts: TimeoutConfig) -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
    loader.retry_config(retries()).timeout_config(timeouts).load().await
}

/// Reads the configuration from the environment, where Lambda puts the credentials and the region. The SDK could also
/// read other places, such as profiles, but that code would make a function's binary a tenth larger.
#[cfg(not(feature = "local"))]
fn load(http: SharedHttpClient, timeouts: TimeoutConfig) -> std::future::Ready<SdkConfig> {
    let variable = |name: &str| environment::variable(name);
    let credentials = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
    let credentials = credentials
        .map(|(id, secret)| Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment"))
        .map(SharedCredentialsProvider::new);
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).map(Region::new))
        .service_config(environment::Endpoints)
        .http_client(http)
        .retry_config(retries())
        .timeout_config(timeouts);
    config.set_credentials_provider(credentials);
    config.set_app_name(variable("AWS_SDK_UA_APP_ID").and_then(|name| AppName::new(name).ok()));
    std::future::ready(config.build())
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50))
}

#[cfg(not(feature = "local"))]
mod environment {
    use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

    /// Reads one of AWS's environment variables. An empty variable counts as not set.
    #[expect(clippy::disallowed_methods, reason = "these are AWS's variables, not Flexgate's settings")]
    pub(super) fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|text| !text.is_empty())
    }

    /// Finds the endpoint of a service. Reads the service's own variable, like `AWS_ENDPOINT_URL_DYNAMODB`. If it is
    /// not set, reads `AWS_ENDPOINT_URL`.
    #[derive(Debug)]
    pub(super) struct Endpoints;

    impl LoadServiceConfig for Endpoints {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            let own = format!("{}_{}", key.env(), key.service_id().replace(' ', "_").to_ascii_uppercase());
            variable(&own).or_else(|| variable(key.env()))
        }
    }
}

/// Sends the SDK's requests with Flexgate's HTTP client.
#[derive(Debug)]
struct Connector {
    http: HttpClient,
    attempt: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, deadline) = (self.http.clone(), Deadline::after(self.attempt));
        HttpConnectorFuture::new(async move { exchange(&http, request, deadline).await })
    }
}

async fn exchange(http: &HttpClient, request: HttpRequest, deadline: Deadline) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (parts, body) = request.into_parts();
    // This error does not occur: every operation that Flexgate uses has a request body in memory, never a stream.
    let body = body.bytes().ok_or_else(|| ConnectorError::user("the request is a stream".into()))?.to_vec();
    let request = http::Request::from_parts(parts, body);
    let request = reqwest::Request::try_from(request).map_err(|error| ConnectorError::user(error.into()))?;
    let answer = outbound::send(http, request, deadline, MAX_ANSWER).await.map_err(failure)?;
    let mut response = http::Response::new(SdkBody::from(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

/// Converts the error into the SDK's kind of error, which decides whether the SDK retries.
fn failure(error: SendError) -> ConnectorError {
    match error {
        SendError::Connect(_) => ConnectorError::io(error.into()).never_connected(),
        SendError::Broken(_) => ConnectorError::io(error.into()),
        SendError::Timeout => ConnectorError::timeout(error.into()),
        SendError::TooLarge { .. } => ConnectorError::other(error.into(), None),
    }
}
