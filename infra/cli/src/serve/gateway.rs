//! Serves the routes of every function on one listener.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use flexgate::authn::CallerSettings;
use flexgate::base::clock_rng::ClockRng;
use flexgate::base::settings::{Reader, SettingsError};
use flexgate::platform::{Common, OwnerSettings, Platform};
use flexgate::telemetry::Log;
use flexgate::twilio::CredentialSettings;
use flexgate::users::PolicySettings;
use flexgate::web::Edge;
use flexgate_apply::GraphSettings;
use flexgate_provision::ScimSettings;
use flexgate_sso::SignInSettings;
use flexgate_webhooks::WebhookSettings;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{desktop, listener, openapi};

/// How long a stopping gateway waits for pending requests.
const DRAIN: Duration = Duration::from_secs(15);

#[derive(Debug, Clone)]
pub struct Settings {
    common: Common,
    sign_in: SignInSettings,
    owner: OwnerSettings,
    webhooks: WebhookSettings,
    apply_tries: u32,
    graph: Option<GraphSettings>,
    scim: Option<ScimSettings>,
}

impl Settings {
    /// Reads the settings. The error lists all mistakes.
    pub fn read(mut reader: Reader) -> Result<Self, SettingsError> {
        let common = Common::read(&mut reader);
        let sign_in = SignInSettings::read(&mut reader, common.as_ref());
        let credential = CredentialSettings::read(&mut reader);
        let (caller, policy) = (CallerSettings::read(&mut reader), PolicySettings::read(&mut reader));
        let (webhooks, apply_tries) = (WebhookSettings::read(&mut reader), flexgate_apply::tries(&mut reader));
        let graph = GraphSettings::read(&mut reader);
        let scim = ScimSettings::read(&mut reader);
        let settings = || {
            let common = common?;
            let owner =
                OwnerSettings { common: common.clone(), credential: credential?, caller: caller?, policy: policy? };
            let (webhooks, apply_tries, graph) = (webhooks?, apply_tries?, graph?);
            Some(Self { common, sign_in: sign_in?, owner, webhooks, apply_tries, graph, scim: scim? })
        };
        reader.finish(settings())
    }

    /// Returns the gateway's public URL, without a trailing slash.
    pub fn public_url(&self) -> &str {
        Url::as_str(&self.common.public_url).trim_end_matches('/')
    }

    fn apply(&self) -> flexgate_apply::Settings {
        flexgate_apply::Settings {
            common: self.common.clone(),
            credential: self.owner.credential.clone(),
            policy: self.owner.policy.clone(),
            tries: self.apply_tries,
            graph: self.graph.clone(),
        }
    }

    pub fn log(&self) -> Log {
        self.common.log.clone()
    }
}

#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stopping: CancellationToken,
    served: JoinHandle<()>,
    /// The task that applies identity events and jobs. It runs even without webhooks, because SCIM and sweeps queue
    /// jobs too.
    consumer: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Listens on `address` and serves requests.
    pub async fn start(address: SocketAddr, settings: &Settings, clock_rng: ClockRng) -> Result<Self, Box<dyn Error>> {
        let platform = Platform::new(&settings.common, clock_rng)?;
        let router = assemble(settings, &platform).await?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen at {address} ({error}): choose another with --port"))?;
        let (address, stopping) = (listener.local_addr()?, CancellationToken::new());
        let (common, stops) = (settings.common.clone(), stopping.clone());
        let files = listener::raise_limit();
        let served = tokio::spawn(async move { listener::serve(listener, router, &common, files, stops).await });
        let consumer = platform.inbox().map(|inbox| {
            let app = flexgate_apply::App::new(&settings.apply(), &platform);
            tokio::spawn(flexgate_apply::consumer::run(app, inbox, stopping.clone()))
        });
        Ok(Self { address, stopping, served, consumer })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting requests and events. Waits, up to a time limit, for the pending requests and events.
    pub async fn stop(self) {
        self.stopping.cancel();
        let finished = async {
            let _served = self.served.await;
            if let Some(consumer) = self.consumer {
                let _consumed = consumer.await;
            }
        };
        if tokio::time::timeout(DRAIN, finished).await.is_err() {
            // After the next start, the queue again delivers the messages that this process did not finish.
            tracing::warn!("requests or events were still under way when the gateway stopped");
        }
    }
}

async fn assemble(settings: &Settings, platform: &Platform) -> Result<Router, Box<dyn Error>> {
    let Settings { common, sign_in, owner, webhooks, scim, .. } = settings;
    let edge = Edge::new("local", common, platform.clock_rng.clone());
    let sso = flexgate_sso::Settings { common: common.clone(), sign_in: sign_in.clone() };
    let provision = flexgate_provision::Settings { owner: owner.clone(), scim: scim.clone() };
    let routes = Router::new()
        .merge(flexgate_sso::router(flexgate_sso::App::new(&sso, platform)))
        .merge(flexgate_mint::router(flexgate_mint::App::new(owner, platform)))
        .merge(flexgate_provision::router(flexgate_provision::App::new(&provision, platform)))
        .merge(flexgate_webhooks::router(flexgate_webhooks::App::start(webhooks, platform).await?))
        .merge(openapi::router())
        .merge(desktop::router());
    Ok(edge.assemble(routes))
}
