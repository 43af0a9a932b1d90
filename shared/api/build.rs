//! Compiles `proto/` without needing `protoc`, and keeps the descriptors for reflection.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();

    let descriptors = protox::compile(&files, [root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        // Maps in a stable order, so that equal messages have equal bytes.
        .btree_map(".")
        // Environments may hold secrets: what carries one cannot be printed by accident.
        .skip_debug([
            ".gantry.agent.v1.ContainerSpec",
            ".gantry.agent.v1.ExecStart",
            ".gantry.agent.v1.LifecycleHook",
            ".gantry.cluster.v1.BackupResponse",
            ".gantry.cluster.v1.CreateTokenResponse",
            ".gantry.cluster.v1.JoinRequest",
            ".gantry.agent.v1.RegistryCredential",
            ".gantry.cluster.v1.RouteCertificate",
            ".gantry.cluster.v1.ServiceRoute",
            ".gantry.cluster.v1.SetAlertConfigRequest",
            ".gantry.feed.v1.AlertReceiverAccess",
            ".gantry.node.v1.Certificate",
            ".gantry.node.v1.RouteFilters",
            ".gantry.node.v1.UpstreamTls",
        ])
        .client_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .compile_fds(descriptors)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|end| end == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
