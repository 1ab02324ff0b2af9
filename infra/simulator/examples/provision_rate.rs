//! Measures how many users per second the simulator provisions, with 10, 10,000 and 100,000 existing users on disk.
//!
//! Run it with `cargo run --release -p flexgate-simulator --example provision_rate`.
#![expect(clippy::print_stdout, reason = "a command-line program prints its output")]

use flexgate_simulator::{ACCOUNT_SID, AUTH_TOKEN, Config, INSTANCE_SID, Simulator};
use serde_json::json;
use tokio::time::Instant;

const PROVISIONED: u32 = 5000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for seeded in [10, 10_000, 100_000] {
        let rate = rate_beside(seeded).await?;
        println!("{seeded:>7} users: {rate:>6.0} rows a second");
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the simulator shares no code with the gateway")]
async fn rate_beside(seeded: u32) -> Result<f64, Box<dyn std::error::Error>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir()?;
    let simulator = Simulator::start(Config { data_dir: Some(folder.path().to_owned()), ..Config::default() }).await?;
    let http = reqwest::Client::new();
    let seed = http.post(format!("{}/__sim/users", simulator.url())).json(&json!({ "count": seeded }));
    seed.send().await?.error_for_status()?;
    let url = format!("{}/flex-api/v4/Instances/{INSTANCE_SID}/Users/Provision", simulator.url());
    let started = Instant::now();
    for n in 0..PROVISIONED {
        let user = json!({ "username": format!("new{n}"), "email": "new@example.com", "full_name": "New", "roles": ["agent"],
            "worker": {} });
        let request = http.post(&url).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN)).json(&user);
        request.send().await?.error_for_status()?.bytes().await?;
    }
    let rate = f64::from(PROVISIONED) / started.elapsed().as_secs_f64();
    simulator.shutdown().await;
    Ok(rate)
}
