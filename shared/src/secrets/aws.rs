//! Secrets from AWS Secrets Manager.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::SdkError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use secrecy::SecretString;
use tokio::sync::OnceCell;
use tokio::time::timeout_at;

use super::{FetchError, SecretSource, SecretValue, Stage};
use crate::base::outbound::Deadline;
use crate::lambda::Aws;

/// The maximum duration of one fetch. It leaves time to serve a cached value if Secrets Manager is slow.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// A source of secrets in AWS Secrets Manager. The first fetch builds the client, with credentials, region and
/// endpoint from the environment.
#[derive(Debug)]
pub struct SecretsManager {
    aws: Aws,
    client: OnceCell<Client>,
}

impl SecretsManager {
    /// Makes a source of secrets without reading the environment yet.
    #[must_use]
    pub fn new(aws: Aws) -> Self {
        Self { aws, client: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.aws.config().await) }).await
    }
}

#[async_trait]
impl SecretSource for SecretsManager {
    async fn fetch(&self, id: &str, stage: Stage, deadline: Deadline) -> Result<SecretValue, FetchError> {
        let stage = match stage {
            Stage::Current => "AWSCURRENT",
            Stage::Pending => "AWSPENDING",
        };
        let request = self.client().await.get_secret_value().secret_id(id).version_stage(stage).send();
        let answer = timeout_at(deadline.within(FETCH_TIMEOUT).instant(), request).await;
        let answer = answer.map_err(|elapsed| FetchError::Unavailable(Arc::new(elapsed)))?.map_err(failure)?;
        let text = answer.secret_string.ok_or(FetchError::NotFound)?;
        let version = answer.version_id.unwrap_or_default();
        Ok(SecretValue { version, text: SecretString::from(text) })
    }
}

fn failure(error: SdkError<GetSecretValueError, HttpResponse>) -> FetchError {
    match error.as_service_error() {
        Some(GetSecretValueError::ResourceNotFoundException(_)) => FetchError::NotFound,
        Some(service) if service.meta().code() == Some("AccessDeniedException") => FetchError::Denied(Arc::new(error)),
        _ => FetchError::Unavailable(Arc::new(error)),
    }
}
