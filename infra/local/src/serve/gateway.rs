//! Every function's router behind one listener.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use flexgate::ambient::Ambient;
use flexgate::http::Site;
use flexgate::platform::Platform;
use flexgate::scim::ScimSettings;
use flexgate::settings::{
    CallerSettings, Common, Credential, OwnerSettings, PolicySettings, Reader, SettingsError, SignInSettings,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::desktop;

/// Requests under way when the gateway stops get this long to finish.
const DRAIN: Duration = Duration::from_secs(15);

/// The settings of every function together.
#[derive(Debug, Clone)]
pub struct Settings {
    common: Common,
    sign_in: SignInSettings,
    owner: OwnerSettings,
    scim: Option<ScimSettings>,
}

impl Settings {
    /// Reads them, or says everything that is wrong with them.
    pub fn read(mut reader: Reader) -> Result<Self, SettingsError> {
        let common = Common::read(&mut reader);
        let sign_in = SignInSettings::read(&mut reader);
        let credential = Credential::read(&mut reader);
        let (caller, policy) = (CallerSettings::read(&mut reader), PolicySettings::read(&mut reader));
        let scim = ScimSettings::read(&mut reader);
        let settings = || {
            let common = common?;
            let owner =
                OwnerSettings { common: common.clone(), credential: credential?, caller: caller?, policy: policy? };
            Some(Self { common, sign_in: sign_in?, owner, scim: scim? })
        };
        reader.finish(settings())
    }

    /// Where browsers see the gateway, without a trailing slash.
    pub fn public_url(&self) -> &str {
        Url::as_str(&self.common.public_url).trim_end_matches('/')
    }

    /// What is logged.
    pub fn log(&self) -> String {
        self.common.log.clone()
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stopping: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

impl Gateway {
    /// Listens at `address` and serves.
    pub async fn start(address: SocketAddr, settings: &Settings, ambient: Ambient) -> Result<Self, Box<dyn Error>> {
        let router = assemble(settings, ambient)?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen at {address} ({error}): choose another with --port"))?;
        let (address, stopping) = (listener.local_addr()?, CancellationToken::new());
        let drained = stopping.clone().cancelled_owned();
        let served = tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(drained).await });
        Ok(Self { address, stopping, served })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests and finishes those that have begun.
    pub async fn stop(self) {
        self.stopping.cancel();
        if tokio::time::timeout(DRAIN, self.served).await.is_err() {
            tracing::warn!("requests were still under way when the gateway stopped");
        }
    }
}

fn assemble(settings: &Settings, ambient: Ambient) -> Result<Router, Box<dyn Error>> {
    let Settings { common, sign_in, owner, scim } = settings;
    let platform = Platform::new(common, ambient)?;
    let site = Site::new("local", common, platform.ambient.clone());
    let sso = flexgate_sso::Settings { common: common.clone(), sign_in: sign_in.clone() };
    let provision = flexgate_provision::Settings { owner: owner.clone(), scim: scim.clone() };
    let routes = Router::new()
        .merge(flexgate_sso::router(flexgate_sso::App::new(&sso, &platform)))
        .merge(flexgate_mint::router(flexgate_mint::App::new(owner, &platform)))
        .merge(flexgate_provision::router(flexgate_provision::App::new(&provision, &platform)))
        .merge(desktop::router());
    Ok(site.assemble(routes))
}
