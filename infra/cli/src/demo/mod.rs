//! `flexgate demo`: runs every flow once over HTTP against the simulator.

mod browser;
mod flows;
mod stage;

use std::error::Error;

use flexgate::base::clock_rng::ClockRng;
use flexgate::telemetry;

use crate::serve::{Gateway, Settings, Simulated, Started};
use stage::Stage;

/// Runs the flows and prints a line for each. Fails if a flow fails.
pub async fn run() -> Result<(), Box<dyn Error>> {
    telemetry::start(&telemetry::Log { levels: "error".to_owned(), metrics: None, old_names: Vec::new() });
    let folder = tempfile::tempdir()?;
    let any_port: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    // The gateway's settings contain the gateway's address. So choose the port first.
    let port = std::net::TcpListener::bind(any_port)?.local_addr()?.port();
    let set_up = Simulated {
        data_dir: folder.path(),
        gateway: port,
        simulator: any_port,
        tls: None,
        environment: false,
        switches: None,
    };
    let Started { simulator, reader, lock: _lock } = set_up.start().await?;
    let settings = Settings::read(reader)?;
    let gateway = Gateway::start(([127, 0, 0, 1], port).into(), &settings, ClockRng::system()).await?;
    let stage = Stage {
        http: flexgate::base::outbound::http_client(&[])?,
        gateway: settings.public_url().to_owned(),
        simulator: simulator.url().to_owned(),
        issuer: simulator.issuer(),
    };
    let failed = flows::play(&stage).await?;
    gateway.stop().await;
    simulator.shutdown().await;
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of the flows failed").into()) }
}
