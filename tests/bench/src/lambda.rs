//! Serves Lambda's runtime API on localhost to one function. The server sends one invocation at a time and measures its
//! duration.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

#[derive(Debug, Clone)]
pub struct Start {
    pub command: Vec<String>,
    /// The function's environment variables, without `PATH` and Lambda's own variables.
    pub variables: Vec<(&'static str, String)>,
    /// The process's control group, if there is one.
    pub group: Option<PathBuf>,
}

pub struct Function {
    child: Child,
    started: Instant,
    api: Arc<Api>,
    invocations: mpsc::UnboundedSender<(u64, String)>,
    answers: mpsc::UnboundedReceiver<(Instant, Value)>,
    served: tokio::task::JoinHandle<()>,
}

struct Api {
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<(u64, String)>>,
    answers: mpsc::UnboundedSender<(Instant, Value)>,
    ready: Mutex<Option<Instant>>,
    handed: Mutex<Option<Instant>>,
}

/// The time since 1970 on the wall clock.
#[expect(clippy::disallowed_methods, reason = "Lambda gives the deadline in wall-clock time")]
pub fn now() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

impl Function {
    pub async fn start(start: &Start) -> Self {
        let (invocations, waiting) = mpsc::unbounded_channel();
        let (sender, answers) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            waiting: tokio::sync::Mutex::new(waiting),
            answers: sender,
            ready: Mutex::default(),
            handed: Mutex::default(),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(responded))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(responded))
            .route("/2018-06-01/runtime/init/error", post(responded))
            .with_state(api.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let listener = axum::serve::ListenerExt::tap_io(listener, |stream| stream.set_nodelay(true).unwrap());
            axum::serve(listener, router).await.unwrap();
        });
        let mut words = start.command.clone();
        if let Some(group) = &start.group {
            let enter = format!("echo $$ > {}/cgroup.procs; exec \"$0\" \"$@\"", group.display());
            words = ["/bin/sh".to_owned(), "-c".to_owned(), enter].into_iter().chain(words).collect();
        }
        let log = if std::env::var_os("FLEXGATE_BENCH_LOG").is_some() { Stdio::inherit } else { Stdio::null };
        let started = Instant::now();
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(start.variables.iter().map(|(name, value)| (*name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "flexgate")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap();
        Self { child, started, api, invocations, answers, served }
    }

    /// Invokes the function. Returns the answer, the time of its arrival, and the duration.
    pub async fn invoke(&mut self, event: &Value) -> (Value, Instant, Duration) {
        let deadline = u64::try_from((now() + Duration::from_mins(1)).as_millis()).unwrap();
        self.invocations.send((deadline, event.to_string())).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(90), self.answers.recv()).await;
        let (at, answer) = answer.expect("the function does not answer").unwrap();
        let handed = self.api.handed.lock().unwrap().take().unwrap_or(self.started);
        (answer, at, at - handed)
    }

    /// Invokes the function for the first time. Returns the time from the start of the process until the function was
    /// ready, the time until the answer, and the answer.
    pub async fn first(&mut self, event: &Value) -> (Duration, Duration, Value) {
        let (answer, at, _) = self.invoke(event).await;
        let ready = self.api.ready.lock().unwrap().unwrap_or(at);
        (ready - self.started, at - self.started, answer)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the function with SIGTERM, as Lambda does.
    pub async fn end(mut self) {
        let _sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        for _ in 0..2_000 {
            if self.child.try_wait().unwrap().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.served.abort();
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    api.ready.lock().unwrap().get_or_insert_with(Instant::now);
    let Some((deadline, event)) = api.waiting.lock().await.recv().await else {
        return std::future::pending().await;
    };
    let headers = [
        ("lambda-runtime-aws-request-id", "00000000-0000-0000-0000-000000000001".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:flexgate".to_owned()),
        ("lambda-runtime-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793".to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    *api.handed.lock().unwrap() = Some(Instant::now());
    (headers, event).into_response()
}

async fn responded(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    let at = Instant::now();
    let _ended = api.answers.send((at, serde_json::from_slice(&body).unwrap_or_default()));
    StatusCode::ACCEPTED
}

/// The process's peak resident memory, in MiB.
pub fn peak_mib(pid: u32) -> f64 {
    status(pid, "VmHWM:") / 1024.0
}

/// The process's current resident memory, in KiB.
pub fn resident_kib(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

fn status(pid: u32, line: &str) -> f64 {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let found = text.lines().find_map(|one| one.strip_prefix(line)).unwrap();
    found.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The process's total processor time, in seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // In `/proc/{pid}/stat`, fields 14 and 15 are the user time and the system time in hundredths of a second. Field 2
    // is in brackets and may contain spaces, so count the fields after the closing bracket.
    let after = text.rsplit_once(')').unwrap().1;
    let ticks = after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}

/// An HTTP API event in payload format 2.0.
pub fn http_event(method: &str, path: &str, query: &str, headers: &[(&str, &str)], body: Option<&str>) -> Value {
    let mut all = json!({ "host": "gate.example.com", "x-forwarded-proto": "https" });
    for (name, value) in headers {
        all[*name] = (*value).into();
    }
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": all,
        "requestContext": {
            "accountId": "000000000000", "apiId": "gate", "domainName": "gate.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "gate", "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "01/Jan/2026:09:00:00 +0000", "timeEpoch": 1_767_258_000_000_u64,
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "bench" },
        },
        "body": body, "isBase64Encoded": false,
    })
}
