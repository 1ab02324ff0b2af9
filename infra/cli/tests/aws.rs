//! Tests `flexgate doctor --aws` with a server that verifies the signature of each request, as AWS does. The server
//! computes the expected signature with its own code, not with Flexgate's.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, Method, StatusCode, Uri};
use ring::{digest, hmac};
use serde_json::{Value, json};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The account's answer to each action, and the actions that have been called.
#[derive(Clone, Default)]
struct Account {
    answers: Arc<BTreeMap<&'static str, (u16, Value)>>,
    called: Arc<Mutex<Vec<String>>>,
}

async fn answer(
    State(account): State<Account>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    if !is_signed(&method, &uri, &headers, &body) {
        return (StatusCode::FORBIDDEN, json!({ "message": "The signature does not match" }).to_string());
    }
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()?.split('.').nth(1));
    let action = match (target, uri.path()) {
        (None, "/2016-08-19/account-settings") if method == Method::GET => "GetAccountSettings",
        (target, _) => target.unwrap_or_default(),
    };
    account.called.lock().unwrap().push(action.to_owned());
    let (status, body) = account.answers.get(action).cloned().unwrap_or((404, json!({})));
    (StatusCode::from_u16(status).unwrap(), body.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Whether the request is signed with the secret key (AWS Signature Version 4).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
fn is_signed(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let authorization = header("authorization");
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}=")).unwrap_or_default();
        rest.split(',').next().unwrap_or_default()
    };
    let (credential, names, signature) = (part("Credential"), part("SignedHeaders"), part("Signature"));
    let Some((_key, scope)) = credential.split_once('/') else { return false };
    let sha256 = |text: &[u8]| hex(digest::digest(&digest::SHA256, text).as_ref());
    let signed = names.split(';').map(|name| format!("{name}:{}\n", header(name).trim())).collect::<Vec<_>>().concat();
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let canonical = format!("{method}\n{path}\n{query}\n{signed}\n{names}\n{}", sha256(body));
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", header("x-amz-date"), sha256(canonical.as_bytes()));
    let sign =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| sign(&key, part));
    let is_complete =
        ["host", "x-amz-date", "x-amz-security-token"].iter().all(|name| names.split(';').any(|n| n == *name));
    is_complete && signature == hex(&sign(&key, &text))
}

fn limits(limit: u64, unreserved: u64) -> (u16, Value) {
    let limits = json!({ "ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": unreserved });
    (200, json!({ "AccountLimit": limits, "AccountUsage": {} }))
}

fn table(protected: bool, recovery: &str, time_to_live: &str) -> [(&'static str, (u16, Value)); 3] {
    let recovery = json!({ "PointInTimeRecoveryStatus": recovery });
    let backups = json!({ "ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery });
    [
        (
            "DescribeTable",
            (200, json!({ "Table": { "TableStatus": "ACTIVE", "DeletionProtectionEnabled": protected } })),
        ),
        ("DescribeContinuousBackups", (200, json!({ "ContinuousBackupsDescription": backups }))),
        ("DescribeTimeToLive", (200, json!({ "TimeToLiveDescription": { "TimeToLiveStatus": time_to_live } }))),
    ]
}

/// Runs `flexgate doctor --aws` against an account with these answers. Returns the exit code, the findings as
/// `status: text → remedy`, and the actions that were called.
async fn examine(
    answers: impl IntoIterator<Item = (&'static str, (u16, Value))>,
    variables: &[(&str, &str)],
) -> (Option<i32>, Vec<String>, Vec<String>) {
    examine_with(answers, variables, &[]).await
}

/// Like [`examine`], with additional options for the command.
async fn examine_with(
    answers: impl IntoIterator<Item = (&'static str, (u16, Value))>,
    variables: &[(&str, &str)],
    options: &[&str],
) -> (Option<i32>, Vec<String>, Vec<String>) {
    let account = Account { answers: Arc::new(answers.into_iter().collect()), ..Account::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let called = account.called.clone();
    let router = Router::new().fallback(answer).with_state(account);
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut command = Command::new(env!("CARGO_BIN_EXE_flexgate"));
    command.args(["doctor", "--aws", "--json"]).args(options).env_clear();
    command.env("AWS_REGION", "eu-central-1").env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_SESSION_TOKEN", "a/b+c=");
    command.env("AWS_ENDPOINT_URL", &address).envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    served.abort();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, member: &str| finding[member].as_str().unwrap_or_default().to_owned();
    let one = |finding: &Value| {
        format!("{}: {} → {}", text(finding, "status"), text(finding, "text"), text(finding, "remedy"))
    };
    let findings = report["checks"].as_array().unwrap().iter().map(one).collect();
    (output.status.code(), findings, called.lock().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_account_is_ok_in_every_line() {
    let answers = table(true, "ENABLED", "ENABLED").into_iter().chain([("GetAccountSettings", limits(1_000, 1_000))]);
    let (code, findings, called) = examine(answers, &[("FLEXGATE_STORE", "dynamodb:flexgate-Table")]).await;
    assert_eq!(code, Some(0), "{findings:#?}");
    assert!(findings.len() == 5 && findings.iter().all(|finding| finding.starts_with("ok")), "{findings:#?}");
    assert_eq!(called, ["GetAccountSettings", "DescribeTable", "DescribeContinuousBackups", "DescribeTimeToLive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_is_told_to_ask_for_more() {
    let (code, findings, _) = examine([("GetAccountSettings", limits(10, 10))], &[]).await;
    assert_eq!(code, Some(0));
    assert!(findings[0].starts_with("warning: Lambda runs at most 10 requests at once"), "{findings:#?}");
    assert!(findings[0].contains("aws service-quotas request-service-quota-increase"), "{findings:#?}");
    assert!(findings[1].contains("FLEXGATE_STORE=dynamodb:TABLE"), "{findings:#?}");
    for (limit, status) in [(99, "warning"), (100, "ok")] {
        let (_, findings, _) = examine([("GetAccountSettings", limits(limit, limit))], &[]).await;
        assert!(findings.len() == 2 && findings[0].starts_with(status), "{findings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_share_what_others_leave_are_a_warning() {
    let (_, findings, _) = examine([("GetAccountSettings", limits(1_000, 100))], &[]).await;
    assert!(findings[1].starts_with("warning: functions have reserved 900 of 1000"), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_concurrency_that_lambda_would_refuse_is_seen_before_the_deployment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prod.json");
    for (limit, unreserved, status, says) in [
        (10, 10, "failure", "leave out SsoConcurrency, MintConcurrency"),
        (300, 300, "failure", "lower SsoConcurrency, MintConcurrency to 200 together"),
        (350, 300, "warning", "if this stack has reserved them already"),
        (350, 350, "ok", ""),
    ] {
        let parameters = json!({
            "TwilioAccountSid": "AC00000000000000000000000000000001",
            "TwilioInstanceSid": "GO00000000000000000000000000000001",
            "SsoProfiles": "default=JQ00000000000000000000000000000001",
            "DefaultReturnTo": "/health",
            "SsoConcurrency": 150, "MintConcurrency": "100",
            // Without sources, there is no function webhooks.
            "WebhooksConcurrency": 900,
        });
        std::fs::write(&file, parameters.to_string()).unwrap();
        let options = ["--template-parameters", file.to_str().unwrap()];
        let (code, findings, _) =
            examine_with([("GetAccountSettings", limits(limit, unreserved))], &[], &options).await;
        assert_eq!(code, Some(i32::from(status == "failure")), "{findings:#?}");
        assert!(findings.iter().any(|one| one.starts_with(status) && one.contains(says)), "{findings:#?}");
        assert!(findings[0].starts_with("ok: all 7 are well formed"), "{findings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_lost_its_protection_is_seen() {
    let settings = ("GetAccountSettings", limits(1_000, 1_000));
    let store = [("FLEXGATE_STORE", "dynamodb:flexgate-Table")];
    let answers = table(false, "DISABLED", "DISABLED").into_iter().chain([settings.clone()]);
    let (code, findings, _) = examine(answers, &store).await;
    assert_eq!(code, Some(1));
    for (finding, says) in
        findings[2..].iter().zip(["DeletionProtection=true", "cannot be restored", "time to live is off"])
    {
        assert!(finding.contains(says), "{findings:#?}");
    }

    let missing = json!({ "__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "message": "no" });
    let (code, findings, _) = examine([settings, ("DescribeTable", (400, missing))], &store).await;
    assert_eq!(code, Some(1));
    assert!(
        findings[1].contains("there is no table flexgate-Table") && findings[1].contains("TableName"),
        "{findings:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_and_hides_nothing_else() {
    let denied = |action: &str| {
        json!({ "__type": "com.amazon.coral.service#AccessDeniedException",
        "Message": format!("User x is not authorized to perform: {action}") })
    };
    let mut answers: BTreeMap<_, _> = table(true, "ENABLED", "ENABLED").into();
    answers.insert("GetAccountSettings", (403, denied("lambda:GetAccountSettings")));
    answers.insert("DescribeContinuousBackups", (400, denied("dynamodb:DescribeContinuousBackups")));
    let (code, findings, called) = examine(answers, &[("FLEXGATE_STORE", "dynamodb:flexgate-Table")]).await;
    assert_eq!((code, called.len()), (Some(0), 4), "{findings:#?}");
    for (place, action) in [(0, "lambda:GetAccountSettings"), (3, "dynamodb:DescribeContinuousBackups")] {
        let finding = &findings[place];
        assert!(finding.starts_with(&format!("warning: {action}")), "{findings:#?}");
        assert!(finding.contains("not authorized") && finding.contains(&format!("allow {action}")), "{findings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_none_are_findings() {
    let answers = [("GetAccountSettings", limits(1_000, 1_000))];
    let (code, findings, called) = examine(answers.clone(), &[("AWS_SECRET_ACCESS_KEY", "another")]).await;
    assert_eq!((code, called.len()), (Some(0), 0));
    assert!(findings[0].contains("The signature does not match"), "the server checks signatures: {findings:#?}");
    let none = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    let (code, findings, _) = examine(answers.clone(), &none).await;
    assert!(code == Some(1) && findings[0].contains("aws sso login"), "{findings:#?}");
    let (code, findings, _) = examine(answers.clone(), &[("AWS_REGION", "")]).await;
    assert!(code == Some(1) && findings[0].contains("AWS_REGION"), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lambda_may_have_an_endpoint_of_its_own() {
    let answers = [("GetAccountSettings", limits(1_000, 1_000))];
    let (code, findings, called) = examine(answers, &[("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1/")]).await;
    assert_eq!((code, called.len()), (Some(1), 0));
    assert!(findings[0].contains("lambda:GetAccountSettings failed"), "{findings:#?}");
}
