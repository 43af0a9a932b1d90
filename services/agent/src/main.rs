//! The agent's process.

use std::process::ExitCode;

use clap::Parser as _;
use gantry_agent::config::Config;
use gantry_agent::firewall::Table;
use gantry_agent::overlay::Overlay;
use gantry_boot::{chain, install_crypto, shutdown, telemetry};
use gantry_model::ClusterId;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    install_crypto();
    let config = Config::parse();
    telemetry::start();
    if let Some(cluster) = &config.clean_up {
        return clean_up(&config.nft, cluster).await;
    }
    if let Some(task) = config.task.clone() {
        return gantry_agent::task::run(&config, task).await;
    }
    let ended = match shutdown::signal_token() {
        Ok(stop) => Box::pin(gantry_agent::run(config, stop)).await.map_err(|error| chain(&error)),
        Err(error) => Err(format!("cannot listen for signals: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the agent cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn clean_up(nft: &str, cluster: &str) -> ExitCode {
    let cluster = match ClusterId::new(cluster) {
        Ok(cluster) => cluster,
        Err(bad) => {
            tracing::error!(error = bad.to_string(), "cannot clean up");
            return ExitCode::FAILURE;
        }
    };
    let rules = Table::new(nft, &cluster).remove().await;
    let devices = Overlay::new(&cluster).remove().await;
    if let Err(error) = &rules {
        tracing::error!(error, "cannot take the rules out of the firewall");
    }
    if let Err(error) = &devices {
        tracing::error!(error, "cannot take the overlay's interfaces away");
    }
    if rules.is_ok() && devices.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
