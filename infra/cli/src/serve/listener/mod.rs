//! Accepts connections and serves a router on them.
//!
//! No client can block other clients: the number of connections is limited ([`room`]), and every wait for a client has
//! a time limit. When the process stops, it first answers all complete requests.

mod connection;
mod files;
mod progress;
mod room;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use flexgate::platform::Common;
use flexgate::web::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use room::{Entry, Room};

pub use files::raise_limit;

/// The minimum time between two log lines of the same warning.
const WARNING_PAUSE: Duration = Duration::from_mins(1);
/// The pause after the operating system failed to accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who connects to the gateway directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peers {
    /// The clients themselves.
    Clients,
    /// Trusted proxies that report their clients' addresses.
    Proxies,
    /// Probably proxies, because the public URL is https. But the settings do not specify any trusted proxies, so the
    /// gateway does not know its clients' addresses.
    Unknown,
}

impl Peers {
    fn of(settings: &Common) -> Self {
        if settings.clients.trusted_proxies() > 0 {
            return Self::Proxies;
        }
        // The gateway has no TLS. So if the public URL is https, there must be a proxy in front of the gateway.
        if settings.public_url.scheme() == "https" { Self::Unknown } else { Self::Clients }
    }
}

/// Serves `router` on the listener's connections until `stopping` is cancelled. Then answers all complete requests, and
/// returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &Common,
    files: usize,
    stopping: CancellationToken,
) {
    let peers = Peers::of(settings);
    if peers == Peers::Unknown {
        tracing::warn!(
            "all clients look alike behind the proxy, so none has a budget of failures: set FLEXGATE_TRUSTED_PROXIES"
        );
    }
    let accept = move |cx: &mut Context<'_>| {
        let accepted = listener.poll_accept(cx);
        accepted.map_ok(|(stream, address): (TcpStream, _)| {
            // Send answers without delay. If this fails, answers are only slower.
            let _slower = stream.set_nodelay(true);
            (stream, address)
        })
    };
    let room = Room::new(files, peers == Peers::Clients);
    accept_all(accept, router, room, peers, stopping).await;
}

async fn accept_all<S>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<(S, SocketAddr)>>,
    router: Router,
    room: Arc<Room>,
    peers: Peers,
    stopping: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut connections, mut warnings) = (JoinSet::new(), Warnings::default());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            // Remove a connection that has ended.
            Some(_) = connections.join_next() => continue,
            accepted = poll_fn(&mut accept) => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let entry = room.enter(address.ip());
                warnings.of_entry(&entry);
                if let Entry::Free(place) | Entry::Replaced(place) = entry {
                    let peer = (peers != Peers::Unknown).then(|| Peer::of_connection(address.ip()));
                    let (router, stopping) = (router.clone(), stopping.clone());
                    connections.spawn(async move {
                        connection::serve(stream, router, peer, place.progress.clone(), stopping).await;
                        drop(place);
                    });
                }
            }
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                warnings.of_failure(&error);
                // Accepting usually fails because too many files are open. So close one connection.
                room.close_one();
                tokio::select! {
                    () = stopping.cancelled() => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    // Close the listener, so that clients notice at once that the gateway has stopped.
    drop(accept);
    while connections.join_next().await.is_some() {}
}

/// Whether accepting failed because the client had already closed the connection.
fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

#[derive(Debug, Default)]
struct Warnings {
    replaced: Tally,
    refused: Tally,
    failed: Tally,
}

impl Warnings {
    fn of_entry(&mut self, entry: &Entry) {
        match entry {
            Entry::Free(_) => {}
            Entry::Replaced(_) => {
                if let Some(count) = self.replaced.count() {
                    tracing::warn!(count, "connections without a whole request were closed to make room for others");
                }
            }
            Entry::Full => {
                if let Some(count) = self.refused.count() {
                    tracing::warn!(count, "connections were refused: too many requests are under way");
                }
            }
        }
    }

    fn of_failure(&mut self, error: &io::Error) {
        if let Some(count) = self.failed.count() {
            tracing::error!(count, error = %error, "connections could not be accepted");
        }
    }
}

/// Counts events, and limits their log lines to one per minute.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    logged_at: Option<Instant>,
}

impl Tally {
    /// Counts one event. Returns the count since the last log line if another line is due.
    fn count(&mut self) -> Option<u64> {
        self.count += 1;
        let is_due = self.logged_at.is_none_or(|at| at.elapsed() >= WARNING_PAUSE);
        is_due.then(|| {
            self.logged_at = Some(Instant::now());
            std::mem::take(&mut self.count)
        })
    }
}

#[cfg(test)]
mod tests;
