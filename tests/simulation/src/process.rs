//! The processes of the deployment. Each function has two processes with separate caches and connections.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::outbound::{HttpClient, Transport};
use flexgate::platform::Platform;
use flexgate::store::{Database, DeadLetter, DeadLetters, Inbox, SqliteStore, StoreFaults};
use flexgate::web::Edge;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::boundary::{Boundary, Life};
use crate::settings::Settings;
use crate::vault::Vault;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer from Flexgate.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

/// A function that answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Function {
    Sso,
    Mint,
    Provision,
    Webhooks,
}

/// A process that answers requests.
pub(crate) struct Server {
    pub(crate) life: Arc<Life>,
    router: Router,
}

impl Server {
    /// Sends a request to this process. Returns `None` if the process dies or takes too long.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Option<Reply> {
        let answered = async {
            let response = self.router.clone().oneshot(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let body: Bytes = body.collect().await.ok()?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            Some(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        tokio::select! {
            biased;
            () = self.life.end() => None,
            reply = tokio::time::timeout(PATIENCE, answered) => reply.ok().flatten(),
        }
    }
}

/// A process that applies messages or sweeps.
pub(crate) struct Worker {
    pub(crate) life: Arc<Life>,
    pub(crate) inbox: Arc<dyn Inbox>,
    dead_letters: Arc<dyn DeadLetters>,
    pub(crate) apply: Arc<flexgate_apply::App>,
    pub(crate) sweep: flexgate_sweep::App,
}

impl Worker {
    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.list(1_000).await.unwrap_or_default()
    }
}

/// Everything that is needed to start a process.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) clock_rng: ClockRng,
    pub(crate) database: Database,
    pub(crate) vault: Vault,
    pub(crate) boundary: Boundary,
}

impl Parts {
    fn platform(&self) -> (Arc<Life>, Platform) {
        let life = Arc::new(Life::default());
        let boundary = Arc::new(Boundary { life: life.clone(), ..self.boundary.clone() });
        (life, self.platform_behind(boundary))
    }

    /// Returns a process's platform. The process's calls to the store and to Twilio pass through `boundary`, which can
    /// delay them or let them fail.
    fn platform_behind<B: StoreFaults + Transport + 'static>(&self, boundary: Arc<B>) -> Platform {
        let store = SqliteStore::inline(&self.database, boundary.clone());
        let http = HttpClient::in_process(boundary);
        Platform::simulated(self.clock_rng.clone(), http, Arc::new(self.vault.clone()), store)
    }

    pub(crate) fn serve(&self, function: Function) -> Server {
        let (life, platform) = self.platform();
        Server { life, router: self.router(function, &platform) }
    }

    /// Starts a process. Its calls to the store and to Twilio pass through `boundary`, which can delay them or let them
    /// fail.
    pub(crate) fn serve_behind<B>(&self, function: Function, life: Arc<Life>, boundary: Arc<B>) -> Server
    where
        B: StoreFaults + Transport + 'static,
    {
        Server { life, router: self.router(function, &self.platform_behind(boundary)) }
    }

    fn router(&self, function: Function, platform: &Platform) -> Router {
        let settings = &self.settings;
        let (name, routes) = match function {
            Function::Sso => ("sso", flexgate_sso::router(flexgate_sso::App::new(&settings.sso, platform))),
            Function::Mint => ("mint", flexgate_mint::router(flexgate_mint::App::new(&settings.mint, platform))),
            Function::Provision => {
                let app = flexgate_provision::App::new(&settings.provision, platform);
                ("provision", flexgate_provision::router(app))
            }
            Function::Webhooks => {
                let app = flexgate_webhooks::App::new(&settings.webhooks.webhooks, platform);
                ("webhooks", flexgate_webhooks::router(app))
            }
        };
        let edge = Edge::new(name, &settings.mint.common, self.clock_rng.clone());
        edge.assemble(routes)
    }

    pub(crate) fn work(&self) -> Worker {
        let (life, platform) = self.platform();
        let queue = SqliteStore::inline(&self.database, Arc::new(Calm));
        Worker {
            life,
            inbox: queue.inbox(),
            dead_letters: Arc::new(queue),
            apply: flexgate_apply::App::new(&self.settings.apply, &platform),
            sweep: flexgate_sweep::App::new(&self.settings.sweep, &platform),
        }
    }
}

/// A boundary that neither delays calls nor lets them fail. It is for the queue. The module `upkeep` simulates faults
/// in the queue's deliveries.
#[derive(Debug)]
pub(crate) struct Calm;

#[async_trait::async_trait]
impl StoreFaults for Calm {
    async fn before(&self, _writes: bool) -> Result<(), flexgate::store::StoreError> {
        Ok(())
    }

    async fn after(&self, _writes: bool) -> Result<(), flexgate::store::StoreError> {
        Ok(())
    }
}
