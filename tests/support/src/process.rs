//! Runs the binary `flexgate` in a separate process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use flexgate::base::outbound::{Deadline, http_client, send};
use http::header::HOST;
use http::{HeaderValue, Response};

use crate::{GATEWAY_HOST, World};

/// Returns a port that is free now. Another process could take it before the caller does.
#[must_use]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A running gateway, which is killed when the value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Process {
    /// Starts `flexgate serve --live` in this world. Waits until the gateway accepts requests.
    #[must_use]
    pub fn live(binary: &str, world: &World) -> Self {
        Self::live_with(binary, world, free_port(), &[])
    }

    /// Like [`Process::live`], with a port and additional environment variables.
    #[must_use]
    pub fn live_with(binary: &str, world: &World, port: u16, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary);
        command.args(["serve", "--live", "--port", &port.to_string()]).envs(world.variables());
        command.envs(variables.iter().copied());
        let process = Self::spawn(command, port);
        let _said = process.wait_for("Flexgate serves", Duration::from_secs(20));
        process
    }

    /// Runs a command. Collects the command's standard output and standard error line by line.
    #[must_use]
    pub fn spawn(mut command: Command, port: u16) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let collect = |stream: Box<dyn std::io::Read + Send>| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        };
        collect(Box::new(out));
        collect(Box::new(err));
        Self { child, lines, port }
    }

    /// Waits for a line with `text`. Returns all lines up to that line.
    #[must_use]
    pub fn wait_for(&self, text: &str, patience: Duration) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(patience);
            let Ok(line) = line else { unreachable!("no line with {text:?} in {seen:#?}") };
            let found = line.contains(text);
            seen.push(line);
            if found {
                return seen;
            }
        }
    }

    /// Returns the remaining lines. Call this only after the process has ended.
    #[must_use]
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.recv_timeout(Duration::from_secs(2)).ok()).collect()
    }

    /// A router that forwards every request to the process over HTTP.
    pub fn router(&self) -> Router {
        let (http, port) = (http_client(&[]).unwrap(), self.port);
        Router::new().fallback(move |request: Request| {
            let http = http.clone();
            async move {
                let (parts, body) = request.into_parts();
                let path = parts.uri.path_and_query().unwrap().as_str();
                let url = format!("http://127.0.0.1:{port}{path}").parse().unwrap();
                let mut outgoing = reqwest::Request::new(parts.method, url);
                *outgoing.headers_mut() = parts.headers;
                outgoing.headers_mut().entry(HOST).or_insert(HeaderValue::from_static(GATEWAY_HOST));
                *outgoing.body_mut() = Some(to_bytes(body, 1 << 24).await.unwrap().into());
                let answer = send(&http, outgoing, Deadline::after(Duration::from_secs(20)), 1 << 24).await.unwrap();
                let mut response = Response::new(axum::body::Body::from(answer.body));
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                response
            }
        })
    }

    /// The port that the gateway listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits until the process ends.
    pub fn ended(&mut self, patience: Duration) -> ExitStatus {
        let began = tokio::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < patience, "the process does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
