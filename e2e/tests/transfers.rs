//! What agents give each other, as a real engine takes it.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use futures_util::{StreamExt as _, TryStreamExt as _};
use gantry_agent::engine::{Archive, Engine};
use gantry_agent::images::kept_name;
use gantry_agent::managed::{DockerRuntime, Runtime, VolumeUse};
use gantry_e2e::{docker, docker_may_fail, eventually};
use gantry_model::ClusterId;

fn runtime() -> DockerRuntime {
    let engine = Engine::at("/var/run/docker.sock").unwrap();
    DockerRuntime::new(engine, ClusterId::new("e2etransfers").unwrap())
}

/// An image that is only here for a test, removed when it ends.
struct Image {
    name: String,
    digest: String,
}

impl Image {
    /// An image of a file of that content.
    fn of(name: &str, content: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), content).unwrap();
        std::fs::write(folder.path().join("Dockerfile"), "FROM scratch\nCOPY file /\n").unwrap();
        docker(["build", "--quiet", "--tag", name, &folder.path().display().to_string()]);
        let digest = docker(["image", "inspect", "--format", "{{.Id}}", name]);
        Self { name: name.to_owned(), digest }
    }

    fn remove(&self) {
        docker_may_fail(["image", "rm", "--force", &self.name]);
        docker_may_fail(["image", "rm", "--force", &kept_name(&self.digest)]);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.remove();
    }
}

fn archive(bytes: Vec<u8>) -> Archive {
    Box::pin(futures_util::stream::iter(vec![Ok(bytes.into())]))
}

#[tokio::test]
async fn an_image_that_was_removed_comes_back_from_its_archive_with_the_same_digest() {
    let runtime = runtime();
    let image = Image::of("gantry-e2e/transfer:there-and-back", "hello");
    runtime.keep_image(&image.name, &image.digest).await.unwrap();
    assert!(runtime.kept_images().await.unwrap().contains(&image.digest));
    let (about, bytes) = runtime.export_image(&image.digest).await.unwrap();
    let bytes: Vec<u8> = bytes.try_collect::<Vec<_>>().await.unwrap().concat();
    assert!(about > 0 && !bytes.is_empty());

    image.remove();
    assert_eq!(runtime.find_image(&image.name, &image.digest).await.unwrap(), None);
    runtime.import_image(&image.digest, archive(bytes)).await.unwrap();
    let found = runtime.find_image(&image.name, &image.digest).await.unwrap();
    assert_eq!(found, Some(kept_name(&image.digest)));
}

#[tokio::test]
async fn an_image_that_is_cut_off_or_is_another_one_is_not_taken() {
    let runtime = runtime();
    let image = Image::of("gantry-e2e/transfer:cut", "hello again");
    runtime.keep_image(&image.name, &image.digest).await.unwrap();
    let (_, bytes) = runtime.export_image(&image.digest).await.unwrap();
    let bytes: Vec<u8> = bytes.try_collect::<Vec<_>>().await.unwrap().concat();
    image.remove();

    let half = bytes[..bytes.len() / 2].to_vec();
    let broken = archive(half).chain(futures_util::stream::iter(vec![Err(io::Error::other("cut"))]));
    runtime.import_image(&image.digest, Box::pin(broken)).await.unwrap_err();
    assert_eq!(runtime.find_image(&image.name, &image.digest).await.unwrap(), None);

    let wanted = format!("sha256:{}", "0".repeat(64));
    let error = runtime.import_image(&wanted, archive(bytes)).await.unwrap_err();
    assert!(error.message.contains("another image"), "{error}");
}

/// Volumes that are only here for a test.
struct Volumes(Vec<String>);

impl Drop for Volumes {
    fn drop(&mut self) {
        for name in &self.0 {
            docker_may_fail(["volume", "rm", "--force", name]);
        }
    }
}

fn volume(name: &str) -> VolumeUse {
    VolumeUse {
        name: name.into(),
        driver: String::new(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        external: false,
    }
}

#[tokio::test]
async fn what_is_in_a_volume_comes_out_of_another_with_its_owners_and_rights() {
    let runtime = runtime();
    let names = ["gantry-e2e-transfer-from", "gantry-e2e-transfer-to"];
    let _volumes = Volumes(names.map(str::to_owned).to_vec());
    let [from, to] = names;
    runtime.begin_volume(&volume(from), "m0").await.unwrap();
    let folder = std::path::PathBuf::from(docker(["volume", "inspect", "--format", "{{.Mountpoint}}", from]));
    let inner = folder.join("data/inner");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("secret"), vec![7; 300_000]).unwrap();
    std::os::unix::fs::symlink("data/inner/secret", folder.join("link")).unwrap();
    Command::new("chown").args(["-R", "999:998"]).arg(&folder).status().unwrap();
    std::fs::set_permissions(inner.join("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();

    runtime.begin_volume(&volume(to), "m1").await.unwrap();
    let refused = runtime.begin_volume(&volume(to), "m2").await.unwrap_err();
    assert!(refused.message.contains("already"), "{refused}");
    let archive = runtime.export_volume(from).await.unwrap();
    let archive = archive.map_err(|error| io::Error::other(error.message));
    runtime.import_volume(to, Box::pin(archive)).await.unwrap();

    let copy = std::path::PathBuf::from(docker(["volume", "inspect", "--format", "{{.Mountpoint}}", to]));
    assert_eq!(std::fs::read(copy.join("data/inner/secret")).unwrap(), vec![7; 300_000]);
    assert_eq!(std::fs::read_link(copy.join("link")).unwrap().to_str(), Some("data/inner/secret"));
    for (path, mode) in [("", 0o700), ("data/inner/secret", 0o600)] {
        let found = std::fs::metadata(copy.join(path)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (999, 998, mode), "{path:?}");
    }
    eventually("what held the volumes is gone", || {
        let left = docker(["ps", "--all", "--quiet", "--filter", "label=gantry.holds"]);
        left.is_empty().then_some(())
    });

    runtime.clear_volume(to, "m2").await.unwrap();
    assert!(copy.exists(), "another move's volume is left alone");
    runtime.clear_volume(to, "m1").await.unwrap();
    assert!(!copy.exists());
}
