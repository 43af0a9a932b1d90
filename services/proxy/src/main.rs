//! The proxy's process.

use std::process::ExitCode;

use clap::Parser as _;
use gantry_boot::{chain, install_crypto, shutdown, telemetry};
use gantry_proxy::config::Config;

/// Many small pieces of memory come and go with every request; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    install_crypto();
    let config = Config::parse();
    telemetry::start();
    let ended = match shutdown::signal_token() {
        Ok(stop) => gantry_proxy::run(config, stop).await.map_err(|error| chain(&error)),
        Err(error) => Err(format!("cannot listen for signals: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the proxy cannot go on");
            ExitCode::FAILURE
        }
    }
}
