//! Checks that the table exists, can be restored, cannot be deleted by mistake, and deletes expired items.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{PointInTimeRecoveryStatus, TableStatus, TimeToLiveStatus};
use aws_types::SdkConfig;
use flexgate::base::error_chain::with_causes;

use super::super::finding::Finding;

const CHECK: &str = "table";

/// Checks the table named `name`.
pub(super) async fn check(config: &SdkConfig, name: &str) -> Vec<Finding> {
    let client = Client::new(config);
    let table = match client.describe_table().table_name(name).send().await {
        Ok(answer) => answer.table,
        Err(error) => return vec![unanswered("dynamodb:DescribeTable", name, &error)],
    };
    let mut findings = Vec::new();
    let status = table.as_ref().and_then(|table| table.table_status.clone());
    findings.push(if status == Some(TableStatus::Active) {
        Finding::ok(CHECK, format!("{name} is active"))
    } else {
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        Finding::failure(CHECK, format!("{name} is not active ({status})"), "wait, or see the table in AWS's console")
    });
    findings.push(if table.and_then(|table| table.deletion_protection_enabled) == Some(true) {
        Finding::ok(CHECK, "it is protected from deletion")
    } else {
        Finding::warning(CHECK, "anybody may delete it by mistake", "deploy with DeletionProtection=true")
    });
    let drifted = "deploy the template again: it turns this on";
    findings.push(match client.describe_continuous_backups().table_name(name).send().await {
        Ok(answer) => {
            let backups = answer.continuous_backups_description.and_then(|all| all.point_in_time_recovery_description);
            match backups.and_then(|one| one.point_in_time_recovery_status) {
                Some(PointInTimeRecoveryStatus::Enabled) => Finding::ok(CHECK, "it can be restored to any time"),
                _ => Finding::failure(CHECK, "it cannot be restored: point-in-time recovery is off", drifted),
            }
        }
        Err(error) => unanswered("dynamodb:DescribeContinuousBackups", name, &error),
    });
    findings.push(match client.describe_time_to_live().table_name(name).send().await {
        Ok(answer) => match answer.time_to_live_description.and_then(|one| one.time_to_live_status) {
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) => {
                Finding::ok(CHECK, "it drops what has expired")
            }
            _ => Finding::failure(CHECK, "it keeps what has expired: time to live is off", drifted),
        },
        Err(error) => unanswered("dynamodb:DescribeTimeToLive", name, &error),
    });
    findings
}

fn unanswered<E>(action: &str, name: &str, error: &SdkError<E>) -> Finding
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error.code() {
        Some("AccessDeniedException" | "UnrecognizedClientException" | "ExpiredTokenException") => {
            let message = error.message().unwrap_or_default();
            let text = format!("{action} was not looked at: AWS refuses it ({message})");
            Finding::warning(CHECK, text, format!("use credentials that are valid and allow {action} on {name}"))
        }
        Some("ResourceNotFoundException") => {
            let remedy = "FLEXGATE_STORE must name the output TableName, and AWS_REGION the stack's region";
            Finding::failure(CHECK, format!("there is no table {name}"), remedy)
        }
        _ => {
            let remedy = "check the network, AWS_REGION and AWS_ENDPOINT_URL";
            Finding::failure(CHECK, format!("{action} failed: {}", with_causes(error)), remedy)
        }
    }
}
