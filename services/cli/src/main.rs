//! `gantry`, the command-line tool.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    gantry_boot::install_crypto();
    Box::pin(gantry_cli::run(gantry_cli::Args::parse())).await
}
