//! How Flexgate talks to AWS: credentials, region and endpoint of the environment, and limits that
//! leave a request time to answer 503 itself.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

/// One try. DynamoDB, SQS and Secrets Manager answer in tens of milliseconds.
const TRY: Duration = Duration::from_millis(1_500);

/// All tries together: less than any function's time.
const OPERATION: Duration = Duration::from_secs(4);

/// The configuration of every AWS client.
pub(crate) async fn config() -> SdkConfig {
    let retries = RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50));
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(TRY)
        .operation_timeout(OPERATION)
        .build();
    aws_config::defaults(BehaviorVersion::v2026_01_12()).retry_config(retries).timeout_config(timeouts).load().await
}
