//! Tests the gateway's process while clients abuse it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use flexgate_test_support::{Browser, Client, Process, World, free_port, router_from, stream_from};
use http::Request;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const PATIENCE: Duration = Duration::from_secs(20);
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Starts the gateway with this limit on its open files.
fn live_with_files(world: &World, files: u32) -> Process {
    let port = free_port();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" serve --live --port {port}"), BINARY]);
    command.envs(world.variables());
    let process = Process::spawn(command, port);
    let _said = process.wait_for("Flexgate serves", PATIENCE);
    process
}

/// Raises this process's limit on open files to the system's maximum.
fn raise_own_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Sends one byte of a request each second. Starts again after the gateway closes the connection.
async fn trickle(port: u16) {
    loop {
        let Ok(mut stream) = stream_from(ATTACKER, port).await else { continue };
        for byte in b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-filler: ".iter().chain(std::iter::repeat(&b'a')) {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn ends_within(mut process: Process, most: Duration) -> (Process, Duration) {
    process.terminate();
    let began = Instant::now();
    let process = tokio::task::spawn_blocking(move || {
        assert!(process.ended(PATIENCE).success());
        process
    });
    let process = process.await.unwrap();
    let took = began.elapsed();
    assert!(took < most, "it takes {took:?} to end");
    (process, took)
}

#[tokio::test(flavor = "multi_thread")]
async fn r80_silent_and_slow_connections_keep_nobody_else_out_and_do_not_hold_up_sigterm() {
    raise_own_file_limit();
    let world = World::start().await;
    let process = live_with_files(&world, 1_024);
    let port = process.port();
    let mut silent: Vec<TcpStream> = Vec::new();
    let opened = timeout(PATIENCE, async {
        while silent.len() < 1_100 {
            silent.push(stream_from(ATTACKER, port).await.unwrap());
        }
    });
    let all_opened = opened.await.is_ok();
    let mut slow = JoinSet::new();
    for _ in 0..200 {
        slow.spawn(trickle(port));
    }
    for source in [OTHER, ATTACKER] {
        for person in ["ada", "grace", "linus"] {
            let began = Instant::now();
            let signed_in = Browser::new(router_from(source, port)).sign_in(&world, person).await;
            assert_eq!(signed_in.status, 303, "{}", signed_in.text);
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
    }
    assert!(all_opened, "only {} connections", silent.len());
    let _warned = process.wait_for("to make room", PATIENCE);
    let (process, _) = ends_within(process, Duration::from_secs(2)).await;
    let warnings = process.rest().iter().filter(|line| line.contains("to make room")).count();
    assert_eq!(warnings, 0, "at most one warning a minute");
    slow.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r80_a_connection_without_a_whole_request_does_not_hold_up_sigterm() {
    let world = World::start().await;
    // Each connection sends nothing, the first half of a request's head, or the first half of a body.
    let halves: [&[u8]; 3] = [
        b"",
        b"GET /health HTTP/1.1\r\nhost: local",
        b"POST /sso/validate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n{",
    ];
    for half in halves {
        let process = Process::live(BINARY, &world);
        let mut stream = stream_from(OTHER, process.port()).await.unwrap();
        stream.write_all(half).await.unwrap();
        // By the time this answer arrives, the gateway has already read the unfinished request.
        assert_eq!(Browser::new(process.router()).get("/health").await.status, 200);
        ends_within(process, Duration::from_secs(2)).await;
        let mut rest = Vec::new();
        let _closed_or_reset = stream.read_to_end(&mut rest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_finished_although_its_client_leaves() {
    let world = World::start().await;
    let process = Process::live(BINARY, &world);
    let token = world.token(&json!({ "sub": "hr", "scope": "flexgate.users.write" })).await;
    let slow = json!({ "service": "flex-api", "method": "GET", "kind": "delay", "delay_ms": 700, "times": "always" });
    world.fault(&slow).await;
    let body = json!({ "username": "katherine", "email": "k@example.com", "full_name": "K", "roles": ["agent"] });
    let body = body.to_string();
    let head = format!(
        "POST /users HTTP/1.1\r\nhost: localhost:9000\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = stream_from(OTHER, process.port()).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let began = Instant::now();
    while world.journal("Users").await.is_empty() {
        assert!(began.elapsed() < PATIENCE, "the request does not arrive");
        sleep(Duration::from_millis(20)).await;
    }
    drop(stream);
    while world.twilio_user("katherine").await.is_none() {
        assert!(began.elapsed() < PATIENCE, "the request stopped in the middle");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The form of a token exchange (RFC 8693) with a token that is not valid.
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=a.b.c\
    &subject_token_type=urn:ietf:params:oauth:token-type:jwt";

/// Returns a request with garbage for one route.
fn garbage(route: usize) -> Request<Body> {
    let json = |path: &str, body: String| {
        Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", "Bearer not.a.token")
            .body(body.into())
            .unwrap()
    };
    match route {
        0 => Request::get("/sso/nobody/login").body(Body::empty()).unwrap(),
        1 => Request::get("/sso/default/callback?code=garbage&state=garbage").body(Body::empty()).unwrap(),
        2 => json("/sso/validate", json!({ "token": "garbage" }).to_string()),
        3 => json("/token", "{}".to_owned()),
        _ => Request::post("/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(EXCHANGE.into())
            .unwrap(),
    }
}

const ROUTES: usize = 4;

/// How many requests one route refused because of their content, and how many because the client's budget of failures
/// was used up.
#[derive(Default)]
struct Refused {
    for_content: AtomicUsize,
    by_budget: AtomicUsize,
}

/// Sends garbage to one route, 125 times a second, until `stop` is true.
async fn flood(port: u16, route: usize, refused: Arc<[Refused; ROUTES]>, stop: Arc<AtomicBool>) {
    let mut client = Client::connect(ATTACKER, port).await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_millis(8));
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let answer = client.send(garbage(route)).await.unwrap();
        if answer.status == 429 {
            assert_eq!(answer.code(), "too_many_requests");
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
            refused[route].by_budget.fetch_add(1, Ordering::Relaxed);
        } else {
            assert!(answer.status.is_client_error(), "{}", answer.text);
            refused[route].for_content.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r75_a_flood_from_one_address_limits_that_address_alone() {
    let world = World::start().await;
    let process = Process::live(BINARY, &world);
    let port = process.port();
    let (refused, stop) = (Arc::<[Refused; ROUTES]>::default(), Arc::new(AtomicBool::new(false)));
    let mut floods = JoinSet::new();
    let began = Instant::now();
    for route in 0..ROUTES {
        floods.spawn(flood(port, route, refused.clone(), stop.clone()));
    }
    let limited = || refused.iter().all(|route| route.by_budget.load(Ordering::Relaxed) >= 50);
    // Another client can sign in during the whole attack.
    let mut signed_in = 0;
    while !limited() || signed_in < 10 {
        let answer = Browser::new(router_from(OTHER, port)).sign_in(&world, "ada").await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        signed_in += 1;
        assert!(began.elapsed() < 3 * PATIENCE, "the attacker is not limited");
    }
    // A browser at the attacker's address can sign in too, because the requests of the flood do not look like a
    // browser's.
    let mut browser = Browser::new(router_from(ATTACKER, port));
    browser.accept("text/html,*/*;q=0.8");
    let answer = browser.sign_in(&world, "grace").await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    stop.store(true, Ordering::Relaxed);
    while let Some(flood) = floods.join_next().await {
        flood.unwrap();
    }
    // The budget allows 300 failures at once and five more each second. So no route processed more requests than that.
    let most = 300 + 5 * usize::try_from(began.elapsed().as_secs() + 1).unwrap();
    for (route, refused) in refused.iter().enumerate() {
        let worked = refused.for_content.load(Ordering::Relaxed);
        assert!(worked <= most + 1, "route {route} worked {worked} times, at most {most}");
    }
    let asked = world.journal("Tokens/Info").await.iter().filter(|call| call["body"] == "Token=garbage").count();
    assert!(asked <= most + 1, "{asked} calls to Twilio");

    let (process, _) = ends_within(process, Duration::from_secs(5)).await;
    let lines = process.rest();
    let refusals = lines.iter().filter(|line| line.contains("\"flexgate::budget\"")).count();
    let minutes = usize::try_from(began.elapsed().as_secs() / 60 + 1).unwrap();
    // Login and callback share a budget, so the four flooded routes have three budgets. For each budget, the gateway
    // logs refusals at most once a minute.
    assert!((3..=3 * minutes).contains(&refusals), "{refusals} lines about refusals");
    let limited = lines.iter().filter(|line| line.contains("\"status\":429")).count();
    assert_eq!(limited, 0, "a refused request has no line of its own");
}

/// Sends 310 logins that fail. Returns how many of them the gateway refused because the budget of failures was used up.
async fn refused_of_310(port: u16, forwarded_for: &str) -> usize {
    let mut client = Client::connect(ATTACKER, port).await.unwrap();
    let mut refused = 0;
    for _ in 0..310 {
        let mut request = garbage(0);
        request.headers_mut().insert("x-forwarded-for", forwarded_for.parse().unwrap());
        let answer = client.send(request).await.unwrap();
        assert!([404, 429].contains(&answer.status.as_u16()), "{}", answer.text);
        refused += usize::from(answer.status == 429);
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn r75_behind_a_proxy_its_clients_are_told_apart() {
    let world = World::start().await;
    let proxied = |variables: &[(&str, &str)]| Process::live_with(BINARY, &world, free_port(), variables);
    let process = proxied(&[("FLEXGATE_TRUSTED_PROXIES", "1"), ("FLEXGATE_PUBLIC_URL", "https://gate.example")]);
    for client in ["192.0.2.1", "spoofed, 192.0.2.2", "192.0.2.1, 192.0.2.3"] {
        let refused = refused_of_310(process.port(), client).await;
        assert!((1..=10).contains(&refused), "{client}: {refused}");
    }
    // To Flexgate, all clients behind an unconfigured proxy have the proxy's address. One client could
    // use up the budget of all, so Flexgate does not limit their failures.
    let mut command = Command::new(BINARY);
    let port = free_port();
    command.args(["serve", "--live", "--port", &port.to_string()]).envs(world.variables());
    command.env("FLEXGATE_PUBLIC_URL", "https://gate.example");
    let process = Process::spawn(command, port);
    let _warned = process.wait_for("set FLEXGATE_TRUSTED_PROXIES", PATIENCE);
    assert_eq!(refused_of_310(port, "192.0.2.1").await, 0);
}
