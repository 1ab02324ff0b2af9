//! Serves Lambda's runtime API on localhost to one function (the program `bootstrap`). As on AWS, the function gets one
//! invocation at a time.

#![expect(clippy::disallowed_types, reason = "this server stands for AWS, not for Flexgate")]
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should panic")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

/// How the function ended an invocation.
#[derive(Debug)]
pub enum Outcome {
    Response(Value),
    Error(Value),
}

#[derive(Debug)]
struct Api {
    waiting: Mutex<mpsc::UnboundedReceiver<(String, u64, String)>>,
    outcomes: mpsc::UnboundedSender<(String, Outcome)>,
}

#[derive(Debug)]
pub struct Function {
    child: Child,
    invocations: mpsc::UnboundedSender<(String, u64, String)>,
    outcomes: mpsc::UnboundedReceiver<(String, Outcome)>,
    early: VecDeque<(String, Outcome)>,
    count: u32,
    lines: Arc<std::sync::Mutex<Vec<Value>>>,
}

impl Function {
    /// Starts the bootstrap at `path` with these variables and Lambda's own variables.
    pub async fn start(path: &std::path::Path, variables: &[(&'static str, String)]) -> Self {
        let (invocations, waiting) = mpsc::unbounded_channel();
        let (sender, outcomes) = mpsc::unbounded_channel();
        let api = Arc::new(Api { waiting: Mutex::new(waiting), outcomes: sender });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(responded))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .with_state(api);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut child = Command::new(path)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "flexgate")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_REGION", "us-east-1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let written = BufReader::new(child.stdout.take().unwrap());
        let lines: Arc<std::sync::Mutex<Vec<Value>>> = Arc::default();
        let collected = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in written.lines().map_while(Result::ok) {
                // If a line is not JSON, keep it as text.
                collected.lock().unwrap().push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Self { child, invocations, outcomes, early: VecDeque::new(), count: 0, lines }
    }

    /// Invokes the function with `event`. The deadline is `time` from now.
    pub async fn invoke(&mut self, event: &Value, time: Duration) -> Outcome {
        self.count += 1;
        let id = format!("00000000-0000-0000-0000-{:012}", self.count);
        #[expect(clippy::disallowed_methods, reason = "Lambda gives the deadline in wall-clock time")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let deadline = u64::try_from((now + time).as_millis()).unwrap();
        self.invocations.send((id.clone(), deadline, event.to_string())).unwrap();
        loop {
            if let Some(at) = self.early.iter().position(|(of, _)| *of == id) {
                return self.early.remove(at).unwrap().1;
            }
            let outcome = tokio::time::timeout(time + Duration::from_secs(10), self.outcomes.recv()).await;
            self.early.push_back(outcome.unwrap().unwrap());
        }
    }

    /// Sends SIGTERM, and waits until the process has ended.
    pub async fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        for _ in 0..100 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!("the function does not end")
    }

    /// Waits until `enough` is true for the function's log lines. Returns these lines.
    pub async fn lines(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..100 {
            let lines = self.lines.lock().unwrap().clone();
            if enough(&lines) {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!("not written: {:?}", self.lines.lock().unwrap())
    }

    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    let Some((id, deadline, event)) = api.waiting.lock().await.recv().await else {
        return std::future::pending().await;
    };
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:flexgate".to_owned()),
        ("lambda-runtime-trace-id", TRACE.to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, event).into_response()
}

/// The X-Ray trace header of every invocation.
pub const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

async fn responded(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    api.outcomes.send((id, Outcome::Response(body))).unwrap();
    StatusCode::ACCEPTED
}

async fn failed(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    api.outcomes.send((id, Outcome::Error(body))).unwrap();
    StatusCode::ACCEPTED
}

/// An HTTP API event in payload format 2.0.
#[must_use]
pub fn event(method: &str, path: &str, headers: &Value, body: Option<&Value>) -> Value {
    let mut all = json!({ "host": "gate.execute-api.us-east-1.amazonaws.com", "x-forwarded-proto": "https" });
    if body.is_some() {
        all["content-type"] = "application/json".into();
    }
    for (name, value) in headers.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": all,
        "requestContext": {
            "accountId": "000000000000", "apiId": "gate", "domainName": "gate.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "gate", "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "01/Jan/2026:09:00:00 +0000", "timeEpoch": 1_767_258_000_000_u64,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test" },
        },
        "body": body.map(ToString::to_string), "isBase64Encoded": false,
    })
}
