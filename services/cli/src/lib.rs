//! The command-line tool: deploys Compose files and looks after what runs.
//!
//! [`Args`] says what can be asked; each command is a file in `commands`. They share the
//! way to the cluster (`context`, `client`), what is said to people (`output`, `failure`, `progress`)
//! and the exit codes: 0 converged, 1 error, 2 bad input, 3 rolled back, 4 timed out.

#![allow(clippy::result_large_err)] // A gRPC status is the error of most calls here.

mod args;
mod bootstrap;
mod client;
mod commands;
mod context;
mod failure;
mod image;
mod output;
mod progress;
mod project;
mod registry;
mod terminal;
mod when;

pub use args::Args;

use std::process::ExitCode;

/// Does what was asked, and answers with the exit code.
pub async fn run(args: Args) -> ExitCode {
    match Box::pin(commands::run(args)).await {
        Ok(code) => code,
        Err(failure) => {
            failure.print();
            failure.code()
        }
    }
}
