//! Creates tables on an emulator of DynamoDB, with the same keys as in `infra/template.yaml`.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{AppName, BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use flexgate::base::outbound::http_client;
use flexgate::lambda::Aws;
use flexgate::store::DynamoStore;

/// How long a request may take. An emulator on a busy machine may need seconds.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

static TABLES: AtomicU32 = AtomicU32::new(0);

pub fn client(endpoint: &str, aws: &Aws) -> Client {
    Client::from_conf(config(endpoint, aws).build())
}

fn config(endpoint: &str, aws: &Aws) -> aws_sdk_dynamodb::config::Builder {
    let credentials = Credentials::new("test", "test", None, None, "test");
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .http_client(aws.http_client())
        .retry_config(RetryConfig::standard().with_initial_backoff(std::time::Duration::from_millis(20)))
        .timeout_config(TimeoutConfig::builder().read_timeout(PATIENCE).operation_timeout(3 * PATIENCE).build())
}

/// Creates a table, and returns a store that uses it. The emulator (`tests/aws/emulator.py`) allows this store every
/// action that a role in `infra/template.yaml` or an operator may perform.
pub async fn table(endpoint: &str) -> DynamoStore {
    let (name, _, aws) = new_table(endpoint).await;
    store_in(&name, endpoint, aws)
}

/// Opens a store in an existing table, with the same permissions as [`table`].
pub fn store_in(name: &str, endpoint: &str, aws: Aws) -> DynamoStore {
    let config = config(endpoint, &aws).app_name(AppName::new("flexgate-any").unwrap());
    DynamoStore::with_client(name, Client::from_conf(config.build()), aws)
}

/// Creates a table. Returns its name, the client that created it, and the AWS configuration.
pub async fn new_table(endpoint: &str) -> (String, Client, Aws) {
    let name = format!("flexgate-{}-{}", std::process::id(), TABLES.fetch_add(1, Ordering::Relaxed));
    let aws = Aws::new(http_client(&[]).unwrap());
    let client = client(endpoint, &aws);
    let mut request = client.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let attribute = AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S);
        request = request
            .key_schema(KeySchemaElement::builder().attribute_name(key).key_type(kind).build().unwrap())
            .attribute_definitions(attribute.build().unwrap());
    }
    request.send().await.unwrap();
    (name, client, aws)
}
