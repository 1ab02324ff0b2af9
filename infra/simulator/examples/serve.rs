//! Runs the simulator alone until Ctrl-C: `cargo run -p flexgate-simulator --example serve`.
//!
//! Optional arguments: `[http address] [TLS address] [data directory] [trusted URL…]`.
#![expect(clippy::print_stdout, reason = "a command-line program prints its output")]

use std::net::SocketAddr;

use flexgate_simulator::{Config, Simulator};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let http: SocketAddr = arguments.next().unwrap_or_else(|| "127.0.0.1:9010".to_owned()).parse()?;
    let tls: SocketAddr = arguments.next().unwrap_or_else(|| "127.0.0.1:9443".to_owned()).parse()?;
    let data_dir = arguments.next().map(Into::into);
    let trusted_urls = arguments.collect();
    let simulator =
        Simulator::start(Config { http, tls: Some(tls), data_dir, trusted_urls, ..Config::default() }).await?;
    println!("simulator {}", simulator.url());
    println!("tls       {tls}");
    println!("spki      {}", simulator.spki_sha256_base64());
    tokio::signal::ctrl_c().await?;
    simulator.shutdown().await;
    Ok(())
}
