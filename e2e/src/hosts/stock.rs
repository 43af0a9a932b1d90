//! The images that every host has: Gantry's and the tests'. They are saved once, and loaded by all at
//! once, which takes half a second; copying a folder of another engine's saves nothing.

use std::path::{Path, PathBuf};

use super::host::Host;
use crate::command::{docker, docker_may_fail};

const PARTS: [&str; 4] = ["gantry/scheduler", "gantry/watchdog", "gantry/agent", "gantry/proxy"];
const PROBE: &str = "gantry-e2e/probe";

/// Saves what of them this machine's engine has.
pub fn save(folder: &Path) -> PathBuf {
    let archive = folder.join("images.tar");
    let found = docker_may_fail(["image", "inspect", PROBE]);
    assert!(found.code == Some(0), "there is no image {PROBE}; e2e/build-probe.sh builds it");
    // Hosts without Gantry are of use too; a cluster says what it lacks.
    let parts = PARTS.map(|part| format!("{part}:{}", env!("CARGO_PKG_VERSION")));
    let there = parts.iter().filter(|image| docker_may_fail(["image", "inspect", image]).code == Some(0));
    let path = archive.to_string_lossy();
    docker(["save", "-o", &path, PROBE].into_iter().chain(there.map(String::as_str)));
    archive
}

/// Gives them to a host.
pub fn load(host: &Host, archive: &Path) {
    host.docker(["load", "-q", "-i", &archive.to_string_lossy()]);
}
