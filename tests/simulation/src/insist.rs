//! Repeats a request until Flexgate gives a definite answer, as real clients do.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;

use crate::process::{Function, Reply};
use crate::world::World;

/// The maximum number of attempts. If none of them gets a definite answer, Flexgate is at fault.
const ATTEMPTS: u32 = 200;

/// The first definite answer to a repeated request.
pub(crate) struct Insisted {
    pub(crate) reply: Reply,
    /// Whether there was an earlier attempt, which may have had an effect.
    pub(crate) repeated: bool,
}

impl World {
    /// Sends requests from `make` until Flexgate gives an answer that does not ask for a retry. Returns `None` after
    /// too many attempts.
    pub(crate) async fn insist<F>(
        self: &Arc<Self>,
        function: Function,
        what: &str,
        mut make: impl FnMut() -> F,
    ) -> Option<Insisted>
    where
        F: Future<Output = Request<Body>>,
    {
        let mut repeated = false;
        for attempt in 0..ATTEMPTS {
            let request = make().await;
            let jumped = self.clock.jumped();
            match self.send(function, request).await {
                Some(reply) if matches!(reply.status, 429 | 408 | 500..) => {
                    self.tell(format!("{what}: {}", reply.status));
                }
                // The clock jumped while the request was in progress. So the request's signature or token is too old,
                // and the request must be repeated.
                Some(reply) if reply.status == 401 && jumped != self.clock.jumped() => {
                    self.tell(format!("{what}: 401, because the clock jumped"));
                }
                Some(reply) => {
                    self.tell(format!("{what}: {}", reply.status));
                    return Some(Insisted { reply, repeated });
                }
                None => self.tell(format!("{what}: no answer")),
            }
            repeated = true;
            let pause = 500 * 2_u64.pow(attempt.min(6)) + self.chance.below(500) as u64;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.complain(format!("{what}: no definite answer in {ATTEMPTS} attempts"));
        None
    }
}
