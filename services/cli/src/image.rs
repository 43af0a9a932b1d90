//! Builds the images of a project on a node.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gantry_api::agent::v1::image_service_client::ImageServiceClient;
use gantry_api::agent::v1::{
    BuildImageRequest, BuildImageStart, InspectImageRequest, build_image_request, build_image_response,
};
use gantry_compose::Build;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::failure::{Failure, Result};

const CHUNK: usize = 256 * 1024;
const INLINE: &str = ".gantry.Dockerfile";

/// Whether the node has the image already.
pub async fn exists(agent: &Channel, image: &str) -> Result<bool> {
    let request = InspectImageRequest { image: image.to_owned() };
    match ImageServiceClient::new(agent.clone()).inspect_image(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

/// Builds `image`. What the build prints goes to `line`, line by line.
pub async fn build(agent: &Channel, image: &str, build: &Build, mut line: impl FnMut(&str)) -> Result<()> {
    let (messages, stream) = mpsc::channel(4);
    let start = BuildImageStart {
        tags: std::iter::once(image.to_owned()).chain(build.tags.iter().cloned()).collect(),
        dockerfile: dockerfile(build),
        build_args: build.args.clone(),
        target: build.target.clone().unwrap_or_default(),
        no_cache: build.no_cache,
        pull: build.pull,
        labels: build.labels.clone(),
        network: build.network.clone().unwrap_or_default(),
        platform: String::new(),
    };
    let first = BuildImageRequest { message: Some(build_image_request::Message::Start(start)) };
    messages.send(first).await.map_err(|_| Failure::error("the build did not begin"))?;
    let packed = build.clone();
    let packing = tokio::task::spawn_blocking(move || pack(&packed, Chunks::new(messages)));

    let mut client = ImageServiceClient::new(agent.clone());
    let failed = |words: &str| Failure::error(format!("image {image} cannot be built: {words}"));
    let mut answers = match client.build_image(ReceiverStream::new(stream)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return Err(failed(status.message())),
    };
    let built = loop {
        match answers.message().await {
            Ok(Some(answer)) => match answer.message {
                Some(build_image_response::Message::Output(text)) => {
                    text.lines().filter(|text| !text.trim().is_empty()).for_each(&mut line);
                }
                Some(build_image_response::Message::ImageId(_)) => break Ok(()),
                None => {}
            },
            Ok(None) => break Err(failed("the agent hung up")),
            Err(status) => break Err(failed(status.message())),
        }
    };
    // What could not be read here explains more than what the engine made of it.
    match packing.await {
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format!("cannot read the folder {}: {error}", build.context.display())))
        }
        _ => built,
    }
}

/// The Dockerfile's path in the archive.
fn dockerfile(build: &Build) -> String {
    if build.dockerfile_inline.is_some() || outside(build).is_some() {
        return INLINE.to_owned();
    }
    build.dockerfile.clone().unwrap_or_default()
}

/// A Dockerfile that is not in the folder.
fn outside(build: &Build) -> Option<PathBuf> {
    let path = build.context.join(build.dockerfile.as_deref()?);
    let clean = |path: &Path| fs::canonicalize(path).ok();
    match (clean(&path), clean(&build.context)) {
        (Some(file), Some(folder)) if !file.starts_with(&folder) => Some(file),
        _ => None,
    }
}

/// Writes the folder as a tar archive, without what `.dockerignore` names.
fn pack(build: &Build, chunks: Chunks) -> io::Result<()> {
    let mut archive = tar::Builder::new(chunks);
    archive.follow_symlinks(false);
    let extra = match (&build.dockerfile_inline, outside(build)) {
        (Some(text), _) => Some(text.clone().into_bytes()),
        (None, Some(path)) => Some(fs::read(path)?),
        (None, None) => None,
    };
    if let Some(content) = extra {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, INLINE, content.as_slice())?;
    }
    let rules = dockerignore(build)?;
    add(&mut archive, &build.context, Path::new(""), &rules)?;
    archive.into_inner()?.flush()
}

fn add<W: Write>(
    archive: &mut tar::Builder<W>,
    root: &Path,
    below: &Path,
    rules: &Gitignore,
) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(root.join(below))?.collect::<io::Result<_>>()?;
    // A stable order makes a stable archive.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = below.join(entry.file_name());
        let kind = entry.file_type()?;
        let ignored = rules.matched_path_or_any_parents(&name, kind.is_dir()).is_ignore();
        if kind.is_dir() {
            // An exception may lie below an ignored folder.
            if !ignored {
                archive.append_dir(&name, entry.path())?;
            }
            if !ignored || rules.num_whitelists() > 0 {
                add(archive, root, &name, rules)?;
            }
        } else if !ignored && (kind.is_file() || kind.is_symlink()) {
            archive.append_path_with_name(entry.path(), &name)?;
        }
    }
    Ok(())
}

/// Docker's rules as git's: Docker's patterns begin at the root, git's may match anywhere.
fn dockerignore(build: &Build) -> io::Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    let own =
        build.dockerfile.as_ref().map(|dockerfile| build.context.join(format!("{dockerfile}.dockerignore")));
    let text = match own.filter(|own| own.is_file()) {
        Some(own) => fs::read_to_string(own)?,
        None => fs::read_to_string(build.context.join(".dockerignore")).unwrap_or_default(),
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (exception, pattern) = match line.strip_prefix('!') {
            Some(pattern) => ("!", pattern.trim()),
            None => ("", line),
        };
        let pattern = pattern.trim_start_matches("./").trim_start_matches('/').trim_end_matches('/');
        builder.add_line(None, &format!("{exception}/{pattern}")).map_err(io::Error::other)?;
    }
    // The builder needs these two whatever the file says.
    for needed in [build.dockerfile.as_deref().unwrap_or("Dockerfile"), ".dockerignore"] {
        builder.add_line(None, &format!("!/{needed}")).map_err(io::Error::other)?;
    }
    builder.build().map_err(io::Error::other)
}

/// Sends what is written in pieces.
struct Chunks {
    sender: mpsc::Sender<BuildImageRequest>,
    buffer: Vec<u8>,
}

impl Chunks {
    fn new(sender: mpsc::Sender<BuildImageRequest>) -> Self {
        Self { sender, buffer: Vec::with_capacity(CHUNK) }
    }
}

impl Write for Chunks {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let take = data.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&data[..take]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let message = BuildImageRequest { message: Some(build_image_request::Message::Chunk(chunk)) };
        self.sender.blocking_send(message).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(files: &[(&str, &str)], build: impl FnOnce(&Path) -> Build) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let (sender, mut receiver) = mpsc::channel(1000);
        pack(&build(folder.path()), Chunks::new(sender)).unwrap();
        let mut bytes = Vec::new();
        while let Ok(message) = receiver.try_recv() {
            let Some(build_image_request::Message::Chunk(chunk)) = message.message else { panic!() };
            bytes.extend(chunk);
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned());
        names.collect()
    }

    fn of(folder: &Path) -> Build {
        Build { context: folder.to_owned(), ..Build::default() }
    }

    #[test]
    fn what_dockerignore_names_is_not_sent_but_for_exceptions() {
        let files = [
            ("Dockerfile", ""),
            (".dockerignore", "# said\n*.log\nnode_modules\n!node_modules/keep.js\nDockerfile\n"),
            ("app.py", ""),
            ("a.log", ""),
            ("sub/b.log", ""),
            ("node_modules/x.js", ""),
            ("node_modules/keep.js", ""),
        ];
        assert_eq!(
            packed(&files, of),
            [".dockerignore", "Dockerfile", "app.py", "node_modules/keep.js", "sub", "sub/b.log"],
            "patterns begin at the root, and the builder's own files always go"
        );
    }

    #[test]
    fn a_dockerfile_in_the_compose_file_is_sent_along() {
        let names = packed(&[("app.py", "")], |folder| Build {
            dockerfile_inline: Some("FROM scratch".into()),
            ..of(folder)
        });
        assert_eq!(names, [INLINE, "app.py"]);
    }
}
