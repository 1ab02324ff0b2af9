//! How to serve.

use std::path::PathBuf;

use clap::Args;

/// How to serve.
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// Use real Twilio, configured by the environment, instead of the simulator
    #[arg(long)]
    pub live: bool,
    /// The gateway's port on this machine
    #[arg(long, default_value_t = 9000, value_name = "PORT")]
    pub port: u16,
    /// The simulator's port
    #[arg(long, default_value_t = 9010, value_name = "PORT", conflicts_with = "live")]
    pub simulator_port: u16,
    /// The simulator's TLS port, for the unmodified Flex SDK (it has certificates for *.twilio.com from its own CA)
    #[arg(long, default_value_t = 9443, value_name = "PORT", conflicts_with = "live")]
    pub tls_port: u16,
    /// The folder in which the simulated set-up keeps its state: sessions, users, keys
    #[arg(long, default_value = ".flexgate", value_name = "FOLDER", conflicts_with = "live")]
    pub data_dir: PathBuf,
    /// A file with the simulator's switches, like the one that flexgate verify --record writes
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    pub switches: Option<PathBuf>,
}
