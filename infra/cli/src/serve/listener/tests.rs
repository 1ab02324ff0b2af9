//! Tests the listener with tokio's paused clock. When all tasks are waiting, tokio advances this clock to the next
//! timer.

use std::net::Ipv4Addr;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use flexgate_test_support::Log;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::*;

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4711);
const GET: &[u8] = b"GET /quick HTTP/1.1\r\nhost: x\r\n\r\n";

/// A gateway whose connections are pipes in memory.
struct Served {
    accept: UnboundedSender<io::Result<(DuplexStream, SocketAddr)>>,
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    fn start() -> Self {
        let (accept, mut accepted) = unbounded_channel();
        let stopping = CancellationToken::new();
        let routes = Router::new()
            .route("/quick", get(|| async { "quick" }))
            .route("/long", get(|| async { "x".repeat(100_000) }))
            .route("/slow", get(|| async { sleep(Duration::from_secs(8)).await }))
            .route("/size", post(|body: Bytes| async move { body.len().to_string() }))
            .route("/early", post(|| async { StatusCode::UNAUTHORIZED }))
            .route(
                "/body",
                post(|request: Request| async {
                    match to_bytes(request.into_body(), 1_000).await {
                        Ok(bytes) => bytes.into_response(),
                        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
                    }
                }),
            );
        let accept_next = move |cx: &mut Context<'_>| accepted.poll_recv(cx).map(|next| next.unwrap());
        let room = Room::new(1_024, true);
        let task = tokio::spawn(accept_all(accept_next, routes, room, Peers::Clients, stopping.clone()));
        Self { accept, stopping, task }
    }

    fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(1_024);
        self.accept.send(Ok((theirs, CLIENT))).unwrap();
        ours
    }

    /// Stops the gateway. Returns how long this took.
    async fn stop(self) -> Duration {
        let began = Instant::now();
        self.stopping.cancel();
        self.task.await.unwrap();
        began.elapsed()
    }
}

/// Reads until the gateway closes the connection. Returns the text, and how long this took.
async fn rest(stream: &mut DuplexStream) -> (String, Duration) {
    let (began, mut bytes) = (Instant::now(), Vec::new());
    let _broken_counts_as_closed = stream.read_to_end(&mut bytes).await;
    (String::from_utf8(bytes).unwrap(), began.elapsed())
}

/// Reads one answer that ends with `end`.
async fn answer(stream: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(stream.read_u8().await.unwrap().into());
    }
    text
}

/// Waits until the gateway's tasks are idle.
async fn settled() {
    sleep(Duration::from_millis(1)).await;
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

#[tokio::test(start_paused = true)]
async fn r80_every_wait_for_a_client_has_a_time_limit() {
    let served = Served::start();
    let mut silent = served.connect();
    assert_eq!(rest(&mut silent).await, (String::new(), Duration::from_secs(10)));

    // Sending one byte each second does not extend the time limit.
    let (mut reader, mut writer) = tokio::io::split(served.connect());
    let began = Instant::now();
    let trickle = tokio::spawn(async move {
        for byte in GET.iter().cycle().filter(|byte| **byte != b'\n') {
            if writer.write_u8(*byte).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    let _closed = reader.read_u8().await.unwrap_err();
    assert_eq!(seconds(began.elapsed()), 10);
    trickle.await.unwrap();

    // After an answer, the connection may be idle for longer: the gateway closes it only after 75 seconds.
    let mut idle = served.connect();
    for _ in 0..3 {
        idle.write_all(GET).await.unwrap();
        answer(&mut idle, "quick").await;
        sleep(Duration::from_mins(1)).await;
    }
    assert_eq!(seconds(rest(&mut idle).await.1), 15);
}

#[tokio::test(start_paused = true)]
async fn r80_a_body_that_does_not_arrive_in_time_is_refused() {
    let served = Served::start();
    let head = b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n";
    let mut slow = served.connect();
    slow.write_all(head).await.unwrap();
    slow.write_all(b"ab").await.unwrap();
    let (text, took) = rest(&mut slow).await;
    assert!(text.starts_with("HTTP/1.1 400") && text.ends_with("in time"), "{text}");
    assert_eq!(seconds(took), 5);

    let mut whole = served.connect();
    whole.write_all(head).await.unwrap();
    sleep(Duration::from_secs(4)).await;
    whole.write_all(b"abcd").await.unwrap();
    assert!(answer(&mut whole, "abcd").await.starts_with("HTTP/1.1 200"));

    // The handler answers before the body is complete. The gateway then closes the connection.
    let mut early = served.connect();
    early.write_all(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab").await.unwrap();
    let (text, took) = rest(&mut early).await;
    assert!(text.starts_with("HTTP/1.1 401"), "{text}");
    assert_eq!(seconds(took), 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_has_a_limit_and_a_body_may_be_larger() {
    let served = Served::start();
    let large = served.connect();
    let sent = format!("GET /quick HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n", "c".repeat(40_000));
    let (mut reader, mut writer) = tokio::io::split(large);
    let sending = tokio::spawn(async move { writer.write_all(sent.as_bytes()).await.is_ok() });
    let mut status = [0; 12];
    reader.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
    drop(reader);
    let _cut_off = sending.await.unwrap();

    let large = served.connect();
    let body = "b".repeat(60_000);
    let (mut reader, mut writer) = tokio::io::split(large);
    let head = format!("POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let sending = tokio::spawn(async move { writer.write_all((head + &body).as_bytes()).await.unwrap() });
    let mut text = String::new();
    while !text.ends_with("60000") {
        text.push(reader.read_u8().await.unwrap().into());
    }
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn r80_a_client_that_does_not_read_its_answer_is_given_up() {
    let served = Served::start();
    let mut stuck = served.connect();
    stuck.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // The client reads a few parts of the answer, and then stops.
    let mut part = [0; 512];
    for _ in 0..5 {
        sleep(Duration::from_secs(20)).await;
        stuck.read_exact(&mut part).await.unwrap();
    }
    sleep(Duration::from_secs(31)).await;
    let (text, took) = rest(&mut stuck).await;
    assert!(text.len() < 10_000 && took < Duration::from_secs(1), "{} {took:?}", text.len());
}

#[tokio::test(start_paused = true)]
async fn a_stopping_gateway_answers_whole_requests_and_waits_for_nothing_else() {
    let served = Served::start();
    let mut slow = served.connect();
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut others = Vec::new();
    let halves: [&[u8]; 4] = [b"", b"GET /qui", b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab", GET];
    for half in halves {
        let mut stream = served.connect();
        stream.write_all(half).await.unwrap();
        others.push(stream);
    }
    settled().await;
    assert_eq!(seconds(served.stop().await), 7, "the slow answer takes 8 seconds");
    assert!(rest(&mut slow).await.0.starts_with("HTTP/1.1 200"));
    let texts: Vec<String> = [rest(&mut others[0]).await, rest(&mut others[1]).await].map(|(text, _)| text).into();
    assert_eq!(texts, ["", ""]);
    assert!(rest(&mut others[3]).await.0.ends_with("quick"));
}

#[tokio::test(start_paused = true)]
async fn a_stopping_gateway_lets_a_request_or_an_answer_finish_that_is_on_its_way() {
    let served = Served::start();
    let (mut head, mut body, mut taken) = (served.connect(), served.connect(), served.connect());
    head.write_all(&GET[..9]).await.unwrap();
    body.write_all(b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab").await.unwrap();
    taken.write_all(b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    settled().await;
    let stopped = tokio::spawn(served.stop());
    settled().await;
    head.write_all(&GET[9..]).await.unwrap();
    body.write_all(b"cd").await.unwrap();
    assert!(rest(&mut head).await.0.ends_with("quick"));
    assert!(rest(&mut body).await.0.ends_with("abcd"));
    assert!(rest(&mut taken).await.0.len() > 100_000);
    assert_eq!(seconds(stopped.await.unwrap()), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_gateway_does_not_wait_for_clients_that_stop_halfway() {
    let halves: [&[u8]; 4] = [
        b"",
        b"GET /quick HTTP/1.1\r\n",
        b"POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab",
        b"GET /long HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    for half in halves {
        let served = Served::start();
        let mut stream = served.connect();
        stream.write_all(half).await.unwrap();
        settled().await;
        assert!(served.stop().await <= Duration::from_secs(1), "{}", String::from_utf8_lossy(half));
    }
}

#[tokio::test(start_paused = true)]
async fn r80_a_new_connection_replaces_one_without_a_request() {
    let log = Log::start();
    let served = Served::start();
    // With a limit of 1,024 files, one client gets at most 240 connections.
    let mut silent: Vec<_> = (0..240).map(|_| served.connect()).collect();
    settled().await;
    let mut new = served.connect();
    new.write_all(GET).await.unwrap();
    assert!(answer(&mut new, "quick").await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(&mut silent[0]).await, (String::new(), Duration::ZERO));
    assert_eq!(log.text().lines().filter(|line| line.contains("to make room")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn r80_errors_of_accept_end_nothing_and_are_counted_once_a_minute() {
    let log = Log::start();
    let served = Served::start();
    let too_many_files = || io::Error::from_raw_os_error(24);
    let mut answered = 0;
    for _ in 0..30 {
        for _ in 0..20 {
            served.accept.send(Err(too_many_files())).unwrap();
            served.accept.send(Err(io::ErrorKind::ConnectionAborted.into())).unwrap();
        }
        let mut stream = served.connect();
        stream.write_all(GET).await.unwrap();
        answer(&mut stream, "quick").await;
        answered += 1;
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(answered, 30);
    let text = log.text();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().all(|line| line["level"] == "ERROR" && line["message"].as_str().unwrap().contains("accepted"))
    );
    // The listener fails for two minutes and logs once per minute.
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["count"], 1);
    assert!(served.stop().await < Duration::from_secs(1));
}

#[test]
fn a_request_says_from_where_it_came() {
    // Each request must contain the client's address. Without an address, Flexgate does not limit the client's failed
    // requests.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = duplex(1_024);
        let routes = Router::new().route(
            "/",
            get(|request: Request| async move { Bytes::from(format!("{:?}", request.extensions().get::<Peer>())) }),
        );
        let peer = Some(Peer::of_connection(CLIENT.ip()));
        let progress = Arc::new(progress::Progress::of_new_connection());
        let stopping = CancellationToken::new();
        let serving = tokio::spawn(connection::serve(theirs, routes, peer, progress, stopping));
        let mut stream = ours;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        assert!(rest(&mut stream).await.0.contains("192.0.2.1"));
        serving.await.unwrap();
    });
}
