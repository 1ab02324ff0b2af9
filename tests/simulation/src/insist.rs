//! A client that repeats a request until it gets an answer, as real ones do.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;

use crate::process::{Function, Reply};
use crate::world::World;

/// The attempts after which a client that still has no answer is a fault.
const ATTEMPTS: u32 = 200;

/// The first definite answer, and what came before it.
pub(crate) struct Insisted {
    pub(crate) reply: Reply,
    /// Whether an earlier attempt may have had an effect.
    pub(crate) repeated: bool,
}

impl World {
    /// Sends the request that `make` makes, until Flexgate answers something other than "try again". Returns `None` if
    /// that takes too long.
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
                // The signature has become too old on the way.
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
