//! The watchdog's process.

use std::process::ExitCode;

use clap::Parser as _;
use gantry_boot::{chain, install_crypto, shutdown, telemetry};
use gantry_watchdog::config::Config;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    install_crypto();
    let config = Config::parse();
    telemetry::start();
    let ended = match shutdown::signal_token() {
        Ok(stop) => gantry_watchdog::run(config, stop).await.map_err(|error| chain(&error)),
        Err(error) => Err(format!("cannot listen for signals: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the watchdog cannot go on");
            ExitCode::FAILURE
        }
    }
}
