//! Serves one connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use flexgate::web::Peer;
use http::Request;
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::progress::{Observed, Progress};

/// How long a client may take to send a request's body. This time is shorter than the default of
/// `FLEXGATE_REQUEST_SECONDS`, so that a slow client gets an error about the body instead of an error about the
/// deadline.
const BODY_TIME: Duration = Duration::from_secs(5);
/// The maximum size of a request's head, in bytes. This is more than API Gateway allows (10,240 bytes).
const MOST_HEAD: usize = 32 * 1024;

/// Serves the connection. Stops when the connection ends, exceeds a time limit, or must make room for another
/// connection, and when the process stops. A complete request always gets an answer.
pub async fn serve<S>(
    stream: S,
    router: Router,
    peer: Option<Peer>,
    progress: Arc<Progress>,
    stopping: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let io = TokioIo::new(Observed { stream, progress: &progress });
    let service = service_fn(|request| answer(request, router.clone(), peer, progress.clone()));
    // Turn off hyper's own time limit, because `Progress` sets the time limits.
    let connection =
        http1::Builder::new().header_read_timeout(None).max_buf_size(MOST_HEAD).serve_connection(io, service);
    let (mut connection, mut timer) = (pin!(connection), pin!(sleep(Duration::ZERO)));
    tokio::select! {
        // Process the received data first.
        biased;
        () = ended(connection.as_mut(), timer.as_mut(), &progress) => return,
        () = progress.gave_way() => return,
        () = stopping.cancelled() => {}
    }
    progress.stop();
    connection.as_mut().graceful_shutdown();
    ended(connection, timer, &progress).await;
}

/// Waits until the connection ends or exceeds a time limit.
async fn ended(mut connection: Pin<&mut impl Future>, mut timer: Pin<&mut Sleep>, progress: &Progress) {
    poll_fn(|cx| {
        let ended = connection.as_mut().poll(cx).map(|_closed_or_broken| ());
        if ended.is_ready() { ended } else { poll_deadline(timer.as_mut(), progress.deadline(), cx) }
    })
    .await;
}

/// Waits for the deadline, which may have changed since the previous call.
fn poll_deadline(mut timer: Pin<&mut Sleep>, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(deadline) = deadline else { return Poll::Pending };
    if timer.deadline() != deadline {
        timer.as_mut().reset(deadline);
    }
    timer.poll(cx)
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    peer: Option<Peer>,
    progress: Arc<Progress>,
) -> Result<Response, Infallible> {
    let has_body = !request.body().is_end_stream();
    progress.head_arrived(has_body);
    let mut request = request.map(|incoming| {
        if has_body {
            Body::new(Arriving { incoming, progress: progress.clone(), timer: Box::pin(sleep(BODY_TIME)) })
        } else {
            Body::empty()
        }
    });
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    // Finish the request even if the client disconnects. If a request stopped in the middle, it could leave a lease
    // behind, or some of its changes could be missing.
    let response = match tokio::spawn(router.oneshot(request)).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The process is stopping.
        Err(_) => std::future::pending().await,
    };
    progress.answered();
    response
}

/// A request's body. Reading it fails if the client sends too slowly.
struct Arriving {
    incoming: Incoming,
    progress: Arc<Progress>,
    timer: Pin<Box<Sleep>>,
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            if frame.is_none() || self.incoming.is_end_stream() {
                self.progress.body_ended();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time").into();
        self.timer.as_mut().poll(cx).map(|()| Some(Err(late())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.progress.body_ended();
    }
}
