//! Compares the local gateway with the same service in Node.js, both under load. The result is the number of mints per
//! second of the server's processor time. Elapsed time would include the simulator and the load generator.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flexgate::base::outbound::{Deadline, HttpClient, http_client, send};
use http::{HeaderValue, Method};
use tokio::time::{Instant, sleep};

use crate::lambda::{cpu_seconds, resident_kib};
use crate::report::{Report, median, ms, progress, quantile, row, rule, short};
use crate::subjects::{Places, peer_variables};
use crate::upstream::Upstream;

/// The number of parts into which each server's load is divided. The servers take turns.
const TURNS: usize = 10;

pub struct Server {
    process: Child,
    url: String,
}

impl Server {
    /// Starts the gateway with a store in `folder`.
    pub async fn gateway(places: &Places, upstream: &Upstream, folder: &Path) -> Self {
        let port = free_port();
        let mut variables = upstream.variables();
        variables.push(("FLEXGATE_STORE", format!("sqlite:{}", folder.join("gateway.db").display())));
        variables.push(("FLEXGATE_SECRETS", "aws".to_owned()));
        variables.push(("FLEXGATE_PUBLIC_URL", format!("http://localhost:{port}")));
        let command = [places.binaries.join("flexgate").display().to_string(), "serve".into(), "--live".into()];
        let command = command.into_iter().chain(["--port".to_owned(), port.to_string()]);
        Self::start(command.collect(), variables, port).await
    }

    pub async fn node(places: &Places, upstream: &Upstream) -> Self {
        let port = free_port();
        let mut variables = peer_variables(upstream);
        variables.push(("PORT", port.to_string()));
        let script = places.bench.join("peers/node/mint.mjs").display().to_string();
        Self::start(vec!["node".into(), script, "serve".into()], variables, port).await
    }

    async fn start(command: Vec<String>, variables: Vec<(&'static str, String)>, port: u16) -> Self {
        let process = Command::new(&command[0])
            .args(&command[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(variables)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, url: format!("http://127.0.0.1:{port}/token") };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return server;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic_free_exit(&command)
    }

    pub fn resident_kib(&self) -> f64 {
        resident_kib(self.process.id())
    }

    /// Sends `count` mint requests over `connections` parallel connections.
    pub async fn load(&self, tokens: &[String], connections: usize, count: usize) -> Load {
        let left = Arc::new(AtomicUsize::new(count));
        let (began, used) = (Instant::now(), cpu_seconds(self.process.id()));
        let tasks: Vec<_> = (0..connections)
            .map(|number| {
                let (left, url, bearer) = (left.clone(), self.url.clone(), tokens[number % tokens.len()].clone());
                tokio::spawn(async move {
                    let (client, mut took) = (http_client(&[]).unwrap(), Vec::new());
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                        took.push(mint(&client, &url, &bearer).await);
                    }
                    took
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.unwrap());
        }
        Load { seconds: began.elapsed().as_secs_f64(), cpu_seconds: cpu_seconds(self.process.id()) - used, latencies }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[derive(Default)]
pub struct Load {
    seconds: f64,
    cpu_seconds: f64,
    latencies: Vec<f64>,
}

impl Load {
    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.cpu_seconds += other.cpu_seconds;
        self.latencies.extend(other.latencies);
    }

    fn each_second(&self) -> f64 {
        count_as(self.latencies.len()) / self.seconds
    }

    fn each_cpu_second(&self) -> f64 {
        count_as(self.latencies.len()) / self.cpu_seconds
    }
}

fn count_as(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

fn panic_free_exit(command: &[String]) -> ! {
    eprintln!("{} does not listen", command.join(" "));
    std::process::exit(1)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn mint(client: &HttpClient, url: &str, bearer: &str) -> f64 {
    let mut request = reqwest::Request::new(Method::POST, url.parse().unwrap());
    let value = HeaderValue::from_str(&format!("Bearer {bearer}")).unwrap();
    request.headers_mut().insert("authorization", value);
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    *request.body_mut() = Some("{}".into());
    let began = Instant::now();
    let answer = send(client, request, Deadline::after(Duration::from_mins(1)), 1 << 20).await.unwrap();
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    ms(began.elapsed())
}

pub async fn compare(places: &Places, folder: &Path, quick: bool, report: &Report) {
    let upstream = Upstream::start(&folder.join("gateway"));
    let tokens = upstream.people().await;
    let gateway = Server::gateway(places, &upstream, folder).await;
    let node = Server::node(places, &upstream).await;
    let count = if quick { 2_000 } else { 20_000 };
    for server in [&gateway, &node] {
        server.load(&tokens, 1, 500).await;
    }
    row(["", "connections", "mints a second", "mints a second of its own processor time", "p50 ms", "p99 ms"]);
    rule(6);
    let mut ratios = Vec::new();
    for connections in [1, 16, 128] {
        progress(&format!("{count} mints over {connections} connections, of each"));
        // Alternate between the servers, so that other load on the machine affects both equally.
        let mut loads = [Load::default(), Load::default()];
        for _ in 0..TURNS {
            for (server, load) in [&gateway, &node].into_iter().zip(&mut loads) {
                load.add(server.load(&tokens, connections, count / TURNS).await);
            }
        }
        for (name, load) in ["gateway", "Node 20"].iter().zip(&loads) {
            row([
                name,
                &connections.to_string(),
                &short(load.each_second()),
                &short(load.each_cpu_second()),
                &short(median(&load.latencies)),
                &short(quantile(&load.latencies, 0.99)),
            ]);
        }
        ratios.push((connections, loads[0].each_cpu_second() / loads[1].each_cpu_second()));
    }
    println!();
    for (connections, ratio) in ratios {
        report.at_least(&format!("mints per core over Node's, {connections} connections"), ratio, 3.0, " x");
    }
}

/// Sends `count` mint requests. Checks that the gateway's memory does not grow after the first tenth of them.
pub async fn memory(places: &Places, folder: &Path, count: usize, report: &Report) {
    let upstream = Upstream::start(&folder.join("memory"));
    let tokens = upstream.people().await;
    let store = folder.join("memory-store");
    std::fs::create_dir_all(&store).unwrap();
    let gateway = Server::gateway(places, &upstream, &store).await;
    let mut seen = Vec::new();
    row(["requests", "RSS MiB"]);
    rule(2);
    for tenth in 1..=10 {
        gateway.load(&tokens, 16, count / 10).await;
        seen.push(gateway.resident_kib() / 1024.0);
        row([&(tenth * (count / 10)).to_string(), &short(seen[tenth - 1])]);
        progress(&format!("{tenth}/10 of {count} requests"));
    }
    println!();
    report.at_most("RSS after all requests over RSS after the first tenth", seen[9] / seen[0], 1.05, " x");
}
