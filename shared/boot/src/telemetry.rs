//! Logs go to standard error, where Docker takes them: a line an event, or JSON for machines.

use tracing_subscriber::EnvFilter;

/// The name server would log every question.
const DEFAULT: &str = "info,hickory_server=warn,hickory_net=warn";

/// Starts logging. `GANTRY_LOG` is a filter such as `info` or `gantry_agent=debug`;
/// `GANTRY_LOG_FORMAT=json` writes a JSON object a line.
pub fn start() {
    let filter = EnvFilter::try_from_env("GANTRY_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let json = std::env::var("GANTRY_LOG_FORMAT").is_ok_and(|format| format == "json");
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second start, as in tests, keeps the first.
    let _ = if json { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
}
