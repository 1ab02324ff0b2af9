//! How far the request on a connection has come. This decides how long the connection may wait, whether it gives way to
//! a new one, and whether it holds up the end of the process.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a client may take to send the head of a request. Also how long a new connection may stay silent.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may stay open without another request. Reverse proxies reuse connections for about a minute,
/// and a proxy must not send a request just when Flexgate closes the connection.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// How long a client may take to read the next part of an answer.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How long a stopping process waits for a client in the middle of a request or an answer.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The connection is new, and no byte has arrived.
    New,
    /// The last answer was sent, and no byte of another request has arrived.
    Idle,
    /// A part of a request's head has arrived.
    Head,
    /// The head has arrived. The body is incomplete.
    Body,
    /// The whole request has arrived, and Flexgate works on it.
    Whole,
    /// The answer is ready, but not yet sent.
    Answered,
}

#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    /// When the phase began. In the phase `Answered`, when the client last took a part of the answer.
    since: Instant,
    /// When the process began to stop.
    stopped_at: Option<Instant>,
}

/// How far the request on one connection has come.
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

    /// The head of a request has arrived.
    pub fn head_arrived(&self, has_body: bool) {
        let to = if has_body { Phase::Body } else { Phase::Whole };
        self.advance(&[Phase::New, Phase::Idle, Phase::Head, Phase::Answered], to);
    }

    /// The body has arrived, or nobody will read the rest of it.
    pub fn body_ended(&self) {
        self.advance(&[Phase::Body], Phase::Whole);
    }

    /// The answer is ready.
    pub fn answered(&self) {
        self.advance(&[Phase::Body, Phase::Whole], Phase::Answered);
    }

    /// The process stops. From now on, the connection waits for its client only if a request or an answer is incomplete,
    /// and only for a moment.
    pub fn stop(&self) {
        self.state().stopped_at = Some(Instant::now());
    }

    /// When the connection has waited too long for its client. `None` while the client need not do anything.
    pub fn deadline(&self) -> Option<Instant> {
        let State { phase, since, stopped_at } = *self.state();
        match (phase, stopped_at) {
            (Phase::New | Phase::Idle, Some(at)) => Some(at),
            (Phase::Head | Phase::Body, Some(at)) => Some(at + GRACE),
            (Phase::Answered, Some(at)) => Some(since.max(at) + GRACE),
            (Phase::New | Phase::Head, None) => Some(since + HEAD_TIME),
            (Phase::Idle, None) => Some(since + IDLE_TIME),
            (Phase::Answered, None) => Some(since + WRITE_TIME),
            // The body has its own time limit (`connection::BODY_TIME`), and the handler has the request's deadline.
            (Phase::Body, None) | (Phase::Whole, _) => None,
        }
    }

    /// Since when the connection has been waiting for its client. `None` if it must not be closed, because a whole
    /// request is under way.
    pub fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        (!matches!(state.phase, Phase::Whole | Phase::Answered)).then_some(state.since)
    }

    /// Closes the connection.
    pub fn give_way(&self) {
        self.given_way.cancel();
    }

    /// Waits until the connection must be closed.
    pub async fn gave_way(&self) {
        self.given_way.cancelled().await;
    }
}

/// A connection's stream that tells the connection's [`Progress`] what it reads and writes.
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

    /// hyper flushes after it has written everything that it has. Flexgate's answers are complete when the handler
    /// returns them, so the first flush after that ends the answer.
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
