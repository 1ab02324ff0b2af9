//! `flexgate serve`: runs all functions on one listener, with the simulator or with real Twilio.

mod desktop;
mod gateway;
mod listener;
mod openapi;
mod options;
mod simulated;

use std::error::Error;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use flexgate::base::clock_rng::ClockRng;
use flexgate::base::settings::Reader;
use flexgate::telemetry;

use crate::terminal::stopped;
use crate::variables::unknown_here;

pub use gateway::{Gateway, Settings};
pub use options::Serve;
pub use simulated::{ENVIRONMENT_FILE, SCIM_TOKEN_FILE, Simulated, Started};

/// Serves until a signal such as SIGTERM or Ctrl-C. Then finishes the pending requests.
pub async fn run(options: &Serve) -> Result<(), Box<dyn Error>> {
    if options.live { live(options).await } else { simulated(options).await }
}

async fn live(options: &Serve) -> Result<(), Box<dyn Error>> {
    let settings = Settings::read(Reader::of_process())?;
    telemetry::start(&settings.log());
    warn_of_unknown_variables();
    let gateway = Gateway::start(local(options.port), &settings, ClockRng::system()).await?;
    say(&format!("Flexgate serves {} at {}", settings.public_url(), gateway.address()))?;
    stopped().await;
    gateway.stop().await;
    Ok(())
}

async fn simulated(options: &Serve) -> Result<(), Box<dyn Error>> {
    let simulated = Simulated {
        data_dir: &options.data_dir,
        gateway: options.port,
        simulator: local(options.simulator_port),
        tls: Some(local(options.tls_port)),
        environment: true,
        switches: options.switches.as_deref(),
    };
    let Started { simulator, reader, lock: _lock } = simulated.start().await?;
    let settings = Settings::read(reader)?;
    telemetry::start(&settings.log());
    warn_of_unknown_variables();
    let gateway = Gateway::start(local(options.port), &settings, ClockRng::system()).await?;
    say(&format!(
        "\nFlexgate is running, with a simulated Twilio.\n\n  \
         Open     {}            and sign in as ada, grace or linus\n  \
         Twilio   {}            simulated; its control API is at /__sim\n  \
         Issuer   {}        the company's identity provider, simulated\n  \
         SCIM     {}/scim/v2    with the token in {}\n\n\
         State is kept in {}, and for operators' commands the settings in {}. Stop with Ctrl-C.\n",
        settings.public_url(),
        simulator.url(),
        simulator.issuer(),
        settings.public_url(),
        options.data_dir.join(SCIM_TOKEN_FILE).display(),
        options.data_dir.display(),
        options.data_dir.join(ENVIRONMENT_FILE).display(),
    ))?;
    stopped().await;
    gateway.stop().await;
    simulator.shutdown().await;
    Ok(())
}

/// Warns about unknown variables, because a misspelt variable has no effect.
fn warn_of_unknown_variables() {
    for (variable, nearest) in unknown_here() {
        tracing::warn!(variable, nearest, "an unknown variable is set: is it misspelt?");
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Writes a line to standard output and flushes it, so that another program can read the line at once.
fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")?;
    out.flush()
}
