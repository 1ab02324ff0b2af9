//! The phase of the request on a connection. It determines the connection's time limit, and whether the connection may
//! be closed to make room for another one.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The time limit for a request's head. It is also the time limit for the first byte on a new connection.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may stay open without a request. It is longer than the minute for which reverse proxies
/// usually reuse a connection.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// How long a client may take to read the next part of an answer.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How long a stopping process waits for a client to complete a request or to read an answer.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A new connection, before its first byte.
    New,
    /// The connection has answered a request. No byte of another request has arrived.
    Idle,
    /// The request's head has arrived only partly.
    Head,
    /// The head has arrived, but not the whole body.
    Body,
    /// The request is complete, and Flexgate is processing it.
    Whole,
    /// The answer is ready, but the client has not read all of it.
    Answered,
}

#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    /// The time at which the phase began. In the phase `Answered`, the time at which the client last read some of the
    /// answer.
    since: Instant,
    /// When the process received the signal to stop.
    stopped_at: Option<Instant>,
}

/// The progress of the request on one connection.
#[derive(Debug)]
pub struct Progress {
    state: Mutex<State>,
    given_way: CancellationToken,
}

impl Progress {
    pub fn of_new_connection() -> Self {
        let state = State { phase: Phase::New, since: Instant::now(), stopped_at: None };
        Self { state: Mutex::new(state), given_way: CancellationToken::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, from: &[Phase], to: Phase) {
        let mut state = self.state();
        if from.contains(&state.phase) {
            (state.phase, state.since) = (to, Instant::now());
        }
    }

    pub fn head_arrived(&self, has_body: bool) {
        let to = if has_body { Phase::Body } else { Phase::Whole };
        self.advance(&[Phase::New, Phase::Idle, Phase::Head, Phase::Answered], to);
    }

    /// Records that the body has arrived, or that nobody will read the rest of it.
    pub fn body_ended(&self) {
        self.advance(&[Phase::Body], Phase::Whole);
    }

    pub fn answered(&self) {
        self.advance(&[Phase::Body, Phase::Whole], Phase::Answered);
    }

    /// Records that the process is stopping. Shortens the connection's time limits.
    pub fn stop(&self) {
        self.state().stopped_at = Some(Instant::now());
    }

    /// When to close the connection because its client is too slow. `None` if the connection has no such limit now.
    pub fn deadline(&self) -> Option<Instant> {
        let State { phase, since, stopped_at } = *self.state();
        match (phase, stopped_at) {
            (Phase::New | Phase::Idle, Some(at)) => Some(at),
            (Phase::Head | Phase::Body, Some(at)) => Some(at + GRACE),
            (Phase::Answered, Some(at)) => Some(since.max(at) + GRACE),
            (Phase::New | Phase::Head, None) => Some(since + HEAD_TIME),
            (Phase::Idle, None) => Some(since + IDLE_TIME),
            (Phase::Answered, None) => Some(since + WRITE_TIME),
            // Other limits apply in these phases: `connection::BODY_TIME` for the body, and the request's deadline for
            // the handler.
            (Phase::Body, None) | (Phase::Whole, _) => None,
        }
    }

    /// Returns when the connection began to wait for its client. Returns `None` if the request is complete, because
    /// then the connection must stay open.
    pub fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        (!matches!(state.phase, Phase::Whole | Phase::Answered)).then_some(state.since)
    }

    /// Closes the connection.
    pub fn give_way(&self) {
        self.given_way.cancel();
    }

    /// Waits until another connection needs this connection's place.
    pub async fn gave_way(&self) {
        self.given_way.cancelled().await;
    }
}

/// A connection's stream. It reports reads and writes to [`Progress`].
#[derive(Debug)]
pub struct Observed<'a, S> {
    pub stream: S,
    pub progress: &'a Progress,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.progress.advance(&[Phase::New, Phase::Idle], Phase::Head);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes after its last write. So when the handler has answered, the next flush means that the whole answer
    /// has been sent.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.progress.advance(&[Phase::Answered], Phase::Idle);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S> Observed<'_, S> {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.progress.advance(&[Phase::Answered], Phase::Answered);
        }
        written
    }
}
