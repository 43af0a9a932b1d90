//! What agents give each other, as a real engine takes it.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

use std::io;

use futures_util::{StreamExt as _, TryStreamExt as _};
use gantry_agent::engine::{Archive, Engine};
use gantry_agent::images::kept_name;
use gantry_agent::managed::{DockerRuntime, Runtime};
use gantry_e2e::{docker, docker_may_fail};
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
