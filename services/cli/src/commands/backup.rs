//! `gantry backup`

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use gantry_api::cluster::v1::BackupRequest;

use crate::args::Backup;
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::output;

/// Writes a copy of the cluster to a file, whole or not at all.
pub async fn run(cluster: &Cluster, backup: &Backup) -> Result<()> {
    let mut pieces = cluster.cluster().backup(BackupRequest {}).await?.into_inner();
    let mut file = Vec::new();
    while let Some(piece) = pieces.message().await? {
        file.extend(piece.chunk);
    }
    let made = gantry_model::Backup::decode(&file)
        .map_err(|bad| Failure::error(format!("what the scheduler sent cannot be used: {bad}")))?;
    write(&backup.file, &file)
        .map_err(|error| Failure::error(format!("cannot write {}: {error}", backup.file.display())))?;
    output::print(&format!(
        "cluster {} at change {} is in {} ({})\nwhoever can read that file can be anybody in the cluster: keep it safe\n",
        made.name,
        made.revision,
        backup.file.display(),
        output::bytes(file.len() as u64)
    ))
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // One that is left of an earlier attempt may be readable for others.
    let _ = std::fs::remove_file(&new);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
