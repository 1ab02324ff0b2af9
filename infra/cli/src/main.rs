//! The binary `flexgate`. It runs every function in one process, for development or for a single machine.

mod activity;
mod audit;
mod cli;
mod demo;
mod doctor;
mod events;
mod manual;
mod named_store;
mod operator;
mod scim;
mod serve;
mod sessions;
mod terminal;
mod token;
mod users;
mod variables;
mod verify;

use std::process::ExitCode;

use mimalloc::MiMalloc;
use tokio::runtime::Builder;

/// With mimalloc, a mint takes 10 % less processor time than with glibc's allocator (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let command = cli::Cli::parse_strictly();
    // One thread, as on Lambda. Moving requests between threads would cost more time than it saves.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::failed(&error),
    };
    match runtime.block_on(command.run()) {
        Ok(code) => code,
        Err(error) => cli::failed(error.as_ref()),
    }
}
