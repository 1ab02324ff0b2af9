//! The binary `flexgate`: every function in one process, for trying it out, for development, and as
//! the deployment of a single machine.

mod audit;
mod cli;
mod demo;
mod doctor;
mod events;
mod manual;
mod operator;
mod scim;
mod serve;
mod terminal;
mod token;
mod users;
mod variables;

use std::process::ExitCode;

use mimalloc::MiMalloc;
use tokio::runtime::Builder;

/// A tenth less processor time for a mint than with glibc's: docs/performance.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let command = cli::Cli::parse_strictly();
    // One thread, as on Lambda: handing requests from thread to thread costs more than it gains here.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::failed(&error),
    };
    match runtime.block_on(command.run()) {
        Ok(code) => code,
        Err(error) => cli::failed(error.as_ref()),
    }
}
