//! A proxy that runs alone, by a file.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::Error;
use crate::config::Config;

pub async fn run(_config: Config, _file: &Path, _stop: CancellationToken) -> Result<(), Error> {
    Err(Error::File(Vec::new()))
}
