//! Starts and stops a simulator.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::persist::Store;
use crate::switches::Switches;
use crate::tls::Identity;
use crate::world::World;
use crate::{ACCOUNT_SID, CLIENT_ID, INSTANCE_SID, SSO_PROFILE_SID, WORKSPACE_SID, listener};

/// How to start a simulator. The default suits tests: any free port, no TLS, no files and no trusted URL.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address for plain HTTP.
    pub http: SocketAddr,
    /// The address for TLS, or `None` without TLS. The certificate covers `*.twilio.com` and localhost.
    pub tls: Option<SocketAddr>,
    /// The HTTP base URL for clients. `None` means `http://localhost:{port}`.
    pub public_url: Option<String>,
    /// The directory that keeps the CA, keys, users and sessions across restarts. It also gets the file `ca.pem`.
    pub data_dir: Option<PathBuf>,
    /// The Trusted URLs of the SSO configuration. A URL must match exactly. An empty list trusts no URL.
    pub trusted_urls: Vec<String>,
    /// The switches at the start and after each reset. The switches select how the simulator behaves.
    pub switches: Switches,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            public_url: None,
            data_dir: None,
            trusted_urls: Vec::new(),
            switches: Switches::default(),
        }
    }
}

/// The identifiers of the simulated account, and its current auth token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// [`ACCOUNT_SID`].
    pub account_sid: String,
    /// The newest auth token.
    pub auth_token: String,
    /// [`INSTANCE_SID`].
    pub instance_sid: String,
    /// [`WORKSPACE_SID`].
    pub workspace_sid: String,
    /// [`SSO_PROFILE_SID`].
    pub sso_profile_sid: String,
    /// [`CLIENT_ID`].
    pub client_id: String,
}

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use, or does not belong to this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The data directory cannot be read or written.
    #[error("cannot use {}", path.display())]
    Storage {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file in the data directory is not in this version's format.
    #[error("{} is damaged: delete it to start afresh", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// The certificate authority could not be made.
    #[error("cannot make the certificates")]
    Certificates(#[from] rcgen::Error),
    /// rustls refused the certificates.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A signing or encryption key could not be made.
    #[error("cannot make a key")]
    Keys,
}

/// A running simulator. [`Simulator::shutdown`] stops it gracefully, and dropping it stops it at once.
pub struct Simulator {
    world: Arc<World>,
    identity: Identity,
    http: SocketAddr,
    tls: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Simulator {
    /// Binds the listeners, and loads or generates the keys. Serves requests until [`Simulator::shutdown`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (http_listener, http) = bind(config.http).await?;
        let tls_listener = match config.tls {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let tls = tls_listener.as_ref().map(|(_, address)| *address);
        let url = config
            .public_url
            .map_or_else(|| format!("http://localhost:{}", http.port()), |url| url.trim_end_matches('/').to_owned());
        let store = Store::open(config.data_dir)?;
        let identity = Identity::load_or_generate(&store)?;
        let (stop, stopped) = watch::channel(false);
        let world = Arc::new(World::new(url, store, config.trusted_urls, config.switches, stopped.clone())?);

        let mut tasks = vec![tokio::spawn(listener::serve(http_listener, None, world.clone(), stopped.clone()))];
        if let Some((listener, _)) = tls_listener {
            let acceptor = TlsAcceptor::from(identity.server.clone());
            tasks.push(tokio::spawn(listener::serve(listener, Some(acceptor), world.clone(), stopped)));
        }
        Ok(Self { world, identity, http, tls, stop, tasks })
    }

    /// Uses `clock` instead of the machine's clock. `clock` returns seconds since the epoch.
    pub fn follow(&self, clock: impl Fn() -> i64 + Send + Sync + 'static) {
        self.world.state().clock = Some(Arc::new(clock));
    }

    /// The HTTP base URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.world.url
    }

    /// The address on which plain HTTP listens.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// The address on which TLS listens, or `None` without TLS.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// The certificate of the generated CA, in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.identity.ca_pem
    }

    /// The SHA-256 hash of the server's public key, for Chromium's `--ignore-certificate-errors-spki-list`.
    #[must_use]
    pub fn spki_sha256_base64(&self) -> &str {
        &self.identity.spki_sha256_base64
    }

    /// The account, with the newest auth token.
    #[must_use]
    pub fn account(&self) -> Account {
        Account {
            account_sid: ACCOUNT_SID.to_owned(),
            auth_token: self.world.state().credentials.current().to_owned(),
            instance_sid: INSTANCE_SID.to_owned(),
            workspace_sid: WORKSPACE_SID.to_owned(),
            sso_profile_sid: SSO_PROFILE_SID.to_owned(),
            client_id: CLIENT_ID.to_owned(),
        }
    }

    /// The issuer of the company's identity provider.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.world.issuer()
    }

    /// Adds a trusted URL to the SSO configuration, for a gateway whose port is chosen later.
    pub fn trust(&self, url: impl Into<String>) {
        self.world.state().trusted_urls.push(url.into());
    }

    /// Changes switches, like `POST /__sim/switches`.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.world.state().switches);
    }

    /// Stops listening, gives running requests up to a second, and closes websockets.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        self.world.save();
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let actual = listener.local_addr().map_err(failed)?;
    Ok((listener, actual))
}
