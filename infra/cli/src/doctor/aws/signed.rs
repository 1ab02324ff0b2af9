//! Sends signed requests to Lambda. This module does not use Lambda's SDK, because that SDK takes minutes to compile
//! and Flexgate makes only one call.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use flexgate::base::outbound::{Deadline, HttpClient, SendError, send};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(8);
const MAX_ANSWER: usize = 64 * 1024;

/// Why AWS did not answer the question.
#[derive(Debug, thiserror::Error)]
pub(super) enum AwsError {
    #[error("there are no AWS credentials")]
    NoCredentials,
    #[error("AWS refuses it ({0})")]
    Refused(String),
    #[error("AWS cannot be asked")]
    Send(#[from] SendError),
    #[error("AWS answers with status {0}: {1}")]
    Status(u16, String),
    #[error("the request cannot be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn unsigned(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AwsError {
    AwsError::Sign(error.into())
}

/// Sends a GET request for `path` to Lambda, with the region and the credentials in `config`. Signs the request with
/// the time `now`.
pub(super) async fn get_lambda(
    http: &HttpClient,
    config: &SdkConfig,
    path: &str,
    now: SystemTime,
) -> Result<Value, AwsError> {
    let region = config.region().map(AsRef::as_ref).unwrap_or_default();
    let provider = config.credentials_provider().ok_or(AwsError::NoCredentials)?;
    let credentials = provider.provide_credentials().await.map_err(|_| AwsError::NoCredentials)?;
    let url = format!("{}{path}", endpoint(config, region).trim_end_matches('/'));
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder().identity(&identity).region(region).name("lambda").time(now);
    let parameters = parameters.settings(SigningSettings::default()).build().map_err(unsigned)?.into();
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[])).map_err(unsigned)?;
    let (instructions, _signature) = sign(request, &parameters).map_err(unsigned)?.into_parts();
    let mut request = http::Request::get(&url).body(Vec::new()).map_err(unsigned)?;
    instructions.apply_to_request_http1x(&mut request);
    let request = reqwest::Request::try_from(request).map_err(unsigned)?;
    let answer = send(http, request, Deadline::after(PATIENCE), MAX_ANSWER).await?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    match answer.status.as_u16() {
        200 => Ok(body),
        401 | 403 => Err(AwsError::Refused(text("Message") + &text("message"))),
        status => Err(AwsError::Status(status, text("Message") + &text("message"))),
    }
}

/// Returns Lambda's endpoint. The environment (`AWS_ENDPOINT_URL_LAMBDA`, `AWS_ENDPOINT_URL`) or the AWS profile may
/// set it. If neither does, returns the region's default endpoint.
fn endpoint(config: &SdkConfig, region: &str) -> String {
    let key = ServiceConfigKey::builder().service_id("Lambda").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let own = key.ok().and_then(|key| config.service_config()?.load_config(key));
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let given = own.or_else(|| config.endpoint_url().map(str::to_owned));
    given.unwrap_or_else(|| format!("https://lambda.{region}.amazonaws.com{suffix}"))
}
