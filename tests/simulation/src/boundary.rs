//! The boundary between a process and its environment. Every call to the store or to Twilio crosses it. A call can be
//! slow or fail there, and the process can die there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Bytes;
use flexgate::base::clock_rng::Clock as _;
use flexgate::base::outbound::{Answer, SendError, Transport};
use flexgate::store::{StoreError, StoreFaults};
use flexgate_simulator::InProcess;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::Notify;

use crate::chance::Chance;
use crate::clock::WorldClock;
use crate::spy::Spy;
use crate::weather::Weather;

/// Whether a process is alive. If a dead process calls its store or Twilio, the call never returns. So the process does
/// nothing after its death.
#[derive(Debug, Default)]
pub(crate) struct Life {
    dead: AtomicBool,
    /// At which of the next calls to the store or to Twilio the process dies: 1 means the very next call. Zero means
    /// that no death is planned.
    left: AtomicI64,
    died: Notify,
}

impl Life {
    pub(crate) fn doom(&self, crossings: i64) {
        self.left.store(crossings, Ordering::Relaxed);
    }

    /// Waits until the process is dead.
    pub(crate) async fn end(&self) {
        let died = self.died.notified();
        if !self.dead.load(Ordering::Relaxed) {
            died.await;
        }
    }

    fn is_over(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Counts one call to the store or to Twilio. Never returns if the process is dead or dies at this call.
    pub(crate) async fn cross(&self) {
        if self.left.load(Ordering::Relaxed) > 0 && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.dead.store(true, Ordering::Relaxed);
            self.died.notify_waiters();
        }
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Clone)]
pub(crate) struct Boundary {
    pub(crate) life: Arc<Life>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) chance: Chance,
    pub(crate) simulator: InProcess,
    pub(crate) spy: Arc<Spy>,
    pub(crate) clock: WorldClock,
}

impl std::fmt::Debug for Boundary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Boundary").finish_non_exhaustive()
    }
}

impl Boundary {
    async fn dawdle(&self, most_millis: usize) {
        if self.chance.thousandths(self.weather.now().slow) {
            tokio::time::sleep(Duration::from_millis(1 + self.chance.below(most_millis) as u64)).await;
        } else {
            // Let other tasks run at every boundary.
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl StoreFaults for Boundary {
    async fn before(&self, writes: bool) -> Result<(), StoreError> {
        self.life.cross().await;
        self.dawdle(400).await;
        if writes && self.chance.thousandths(self.weather.now().store_fails) {
            return Err(StoreError::Unavailable("the simulated store is away".into()));
        }
        Ok(())
    }

    async fn after(&self, writes: bool) -> Result<(), StoreError> {
        self.life.cross().await;
        if writes && self.chance.thousandths(self.weather.now().store_loses) {
            return Err(StoreError::Unavailable("the simulated store's answer was lost".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Transport for Boundary {
    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, SendError> {
        self.life.cross().await;
        self.spy.begins(&request, self.clock.now());
        let _under_way = UnderWay { boundary: self, request: &request };
        self.answer(&request).await
    }
}

/// A request in progress. It ends when its answer arrives or its process cancels it. If its process dies, the request
/// stays in progress forever.
struct UnderWay<'a> {
    boundary: &'a Boundary,
    request: &'a reqwest::Request,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.boundary.life.is_over() {
            self.boundary.spy.ends(self.request);
        }
    }
}

impl Boundary {
    async fn answer(&self, request: &reqwest::Request) -> Result<Answer, SendError> {
        self.dawdle(4_000).await;
        let odds = self.weather.now();
        if self.chance.thousandths(odds.unreachable) {
            return Err(if self.chance.half() {
                SendError::Connect("simulated: cannot connect".into())
            } else {
                SendError::Broken("simulated: broken before the request was read".into())
            });
        }
        if self.chance.thousandths(odds.refused) {
            self.spy.unperformed(request);
            return Ok(self.refusal());
        }
        let answer = perform(&self.simulator, &self.spy, request).await;
        self.life.cross().await;
        let garbled = self.chance.thousandths(odds.garbled);
        match answer {
            Some(answer) if garbled => Ok(Answer { body: answer.body.slice(..answer.body.len() / 2), ..answer }),
            Some(answer) if !self.chance.thousandths(odds.lost) => Ok(answer),
            _ => Err(SendError::Broken("simulated: the answer was lost".into())),
        }
    }

    fn refusal(&self) -> Answer {
        let (status, body): (u16, &[u8]) = match self.chance.below(3) {
            0 => (429, br#"{"code":20429,"message":"Too Many Requests","status":429}"#),
            1 => (503, br#"{"code":20503,"message":"Service Unavailable","status":503}"#),
            _ => (502, b"<html><title>Bad Gateway</title></html>"),
        };
        let mut headers = HeaderMap::new();
        if status == 429 {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        Answer { status, headers, body: Bytes::from_static(body) }
    }
}

/// Performs the request at the simulated Twilio. Returns `None` if the connection breaks.
pub(crate) async fn perform(simulator: &InProcess, spy: &Spy, request: &reqwest::Request) -> Option<Answer> {
    let answer = simulator.answer(of_reqwest(request)).await.map(|response| {
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body }
    });
    spy.performed(request, answer.as_ref());
    answer
}

fn of_reqwest(request: &reqwest::Request) -> http::Request<Bytes> {
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    let mut sent = http::Request::new(Bytes::copy_from_slice(body));
    *sent.method_mut() = request.method().clone();
    *sent.uri_mut() = request.url().as_str().parse().unwrap();
    *sent.headers_mut() = request.headers().clone();
    let host = request.url().authority();
    sent.headers_mut().insert(HOST, HeaderValue::from_str(host).unwrap());
    sent
}
