//! A simulator without sockets. With the same seed and the same requests, it gives the same answers.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::sync::watch;

use crate::call::Wire;
use crate::idp::keys::KeyRing;
use crate::persist::Store;
use crate::simulator::StartError;
use crate::switches::Switches;
use crate::world::World;
use crate::{gate, random};

/// A simulator that the caller calls directly. Clones share the same state.
#[derive(Clone)]
pub struct InProcess {
    world: Arc<World>,
    _running: Arc<watch::Sender<bool>>,
}

impl InProcess {
    /// Creates a simulator with the URL `url`. From now on, every simulator on this thread draws its random numbers
    /// from `seed`. All in-process simulators of a process share their signing keys.
    pub fn new(
        seed: u64,
        url: &str,
        trusted_urls: Vec<String>,
        clock: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let keys = KeyRing::shared()?;
        random::seed(seed);
        let (running, stop) = watch::channel(false);
        let world = World::with_keys(url.to_owned(), Store::default(), trusted_urls, Switches::default(), stop, keys)?;
        world.state().clock = Some(Arc::new(clock));
        Ok(Self { world: Arc::new(world), _running: Arc::new(running) })
    }

    /// The issuer of the company's identity provider.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.world.issuer()
    }

    /// Returns the username of the Flex user to whom a token of this simulator belongs.
    #[must_use]
    pub fn owner_of(&self, token: &str) -> Option<String> {
        self.world.token_key.open(token).map(|claims| claims.username)
    }

    /// Answers a request, or returns `None` if a fault breaks the connection.
    pub async fn answer(&self, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let response: Response<Body> = gate::answer(&self.world, &Wire::default(), parts, body).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Response::from_parts(parts, body))
    }
}
