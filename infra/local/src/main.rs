//! The binary `flexgate`: every function in one process, for trying it out, for development, and as
//! the deployment of a single machine.

mod cli;
mod demo;
mod events;
mod scim;
mod serve;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let command = cli::Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return cli::failed(&error),
    };
    match runtime.block_on(command.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::failed(error.as_ref()),
    }
}
