//! `gantry cp` and `gantry processes`

use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use gantry_api::cluster::v1::copy_in_request::Message;
use gantry_api::cluster::v1::{
    CopyInRequest, CopyInStart, CopyOutRequest, CopyOutResponse, ReplicaTarget, TopReplicaRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::args::{Copy, FileArgs, Processes, ScopeArgs};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::{output, project};

const CHUNK: usize = 256 * 1024;

/// What one side of a copy names.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    /// A path in a replica.
    Replica(&'a str, &'a str),
    /// A path here; `-` is standard input or output.
    Here(&'a Path),
}

impl<'a> Side<'a> {
    fn of(text: &'a str) -> Self {
        match text.split_once(':') {
            // As with `docker cp`, a path with a colon is written with ./ before it.
            Some((replica, path)) if !replica.is_empty() && !replica.starts_with(['.', '/']) => {
                Self::Replica(replica, path)
            }
            _ => Self::Here(Path::new(text)),
        }
    }
}

fn target(scope: &ScopeArgs, named: &str, slot: u32) -> Result<ReplicaTarget> {
    let target = match project::find_stack(&FileArgs::from(scope)) {
        _ if named.contains('/') => named.to_owned(),
        Ok(Some(stack)) => format!("{stack}/{named}"),
        // Without a project it can only be a replica's id.
        Ok(None) => named.to_owned(),
        Err(failure) => return Err(failure),
    };
    Ok(ReplicaTarget { target, slot })
}

/// Lists the processes of a replica.
pub async fn processes(cluster: &Cluster, args: Processes) -> Result<()> {
    let replica = Some(target(&args.scope, &args.replica, args.index)?);
    let request = TopReplicaRequest { replica, ps_args: args.ps_args.join(" ") };
    let answer = cluster.replicas().top_replica(request).await?.into_inner();
    let table = answer.processes.unwrap_or_default();
    let mut text = table.titles.join("\t") + "\n";
    for process in table.processes {
        text.push_str(&(process.words.join("\t") + "\n"));
    }
    output::print(&text)
}

/// Copies files into a replica, or out of it.
pub async fn copy(cluster: &Cluster, copy: Copy) -> Result<()> {
    match (Side::of(&copy.source), Side::of(&copy.target)) {
        (Side::Replica(replica, path), Side::Here(here)) => {
            let replica = Some(target(&copy.scope, replica, copy.index)?);
            let request = CopyOutRequest { replica, path: path.to_owned() };
            let archive = cluster.replicas().copy_out(request).await?.into_inner();
            take(archive, here).await
        }
        (Side::Here(here), Side::Replica(replica, path)) => {
            let replica = Some(target(&copy.scope, replica, copy.index)?);
            give(cluster, here, replica, path).await
        }
        _ => Err(Failure::bad_input("one side must be SERVICE:PATH, and the other a path here or -")),
    }
}

/// Unpacks an archive here, or writes it to standard output.
async fn take(mut archive: Streaming<CopyOutResponse>, here: &Path) -> Result<()> {
    let (chunks, incoming) = mpsc::channel::<Vec<u8>>(4);
    let here = here.to_owned();
    let unpacking = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let mut reader = Incoming { incoming, rest: io::Cursor::new(Vec::new()) };
        if here == Path::new("-") {
            io::copy(&mut reader, &mut io::stdout().lock())?;
            return io::stdout().flush();
        }
        unpack(reader, &here)
    });
    let received = async {
        while let Some(answer) = archive.message().await? {
            if chunks.send(answer.chunk).await.is_err() {
                break;
            }
        }
        Ok::<_, tonic::Status>(())
    };
    let received = received.await;
    drop(chunks);
    let unpacked = unpacking.await.map_err(|error| Failure::error(error.to_string()))?;
    received?;
    unpacked.map_err(|error| Failure::error(format!("cannot write here: {error}")))
}

/// Unpacks an archive whose top is one file or folder: into `here` if that is a folder, else as `here`.
fn unpack(reader: impl io::Read, here: &Path) -> io::Result<()> {
    let inside = here.is_dir();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        // What comes from a container is not trusted to stay where it belongs.
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(io::Error::other(format!("{} leads elsewhere", path.display())));
        }
        if inside {
            entry.unpack_in(here)?;
            continue;
        }
        let below: PathBuf = path.components().filter(|part| *part != Component::CurDir).skip(1).collect();
        if below.as_os_str().is_empty() {
            entry.unpack(here)?;
        } else {
            // Below the folder that was just made: links in it may not lead out of it.
            let linked =
                |part: &Path| here.join(part).symlink_metadata().is_ok_and(|found| found.is_symlink());
            if below.ancestors().skip(1).any(linked) {
                return Err(io::Error::other(format!("{} leads through a link", path.display())));
            }
            entry.unpack(here.join(below))?;
        }
    }
    Ok(())
}

struct Incoming {
    incoming: mpsc::Receiver<Vec<u8>>,
    rest: io::Cursor<Vec<u8>>,
}

impl io::Read for Incoming {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.rest.read(out)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            match self.incoming.blocking_recv() {
                Some(chunk) => self.rest = io::Cursor::new(chunk),
                None => return Ok(0),
            }
        }
    }
}

/// Packs what is here, or takes an archive from standard input, and sends it.
async fn give(cluster: &Cluster, here: &Path, replica: Option<ReplicaTarget>, path: &str) -> Result<()> {
    let from_stdin = here == Path::new("-");
    let (folder, name) = if from_stdin { (path.to_owned(), String::new()) } else { place(here, path)? };
    let (messages, stream) = mpsc::channel(4);
    let start = CopyInStart { replica, path: folder };
    let first = CopyInRequest { message: Some(Message::Start(start)) };
    messages.send(first).await.map_err(|_| Failure::error("the connection broke"))?;
    let here = here.to_owned();
    let packing = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let mut chunks = io::BufWriter::with_capacity(CHUNK, Chunks(messages));
        if from_stdin {
            io::copy(&mut io::stdin().lock(), &mut chunks)?;
            return chunks.flush();
        }
        let mut archive = tar::Builder::new(chunks);
        archive.follow_symlinks(false);
        if here.is_dir() {
            archive.append_dir_all(&name, &here)?;
        } else {
            archive.append_path_with_name(&here, &name)?;
        }
        archive.into_inner()?.flush()
    });
    let sent = cluster.replicas().copy_in(ReceiverStream::new(stream)).await;
    let packed = packing.await.map_err(|error| Failure::error(error.to_string()))?;
    sent?;
    packed.map_err(|error| Failure::error(format!("cannot read here: {error}")))
}

/// The folder in the container to unpack in, and the name there: a path that ends with a slash is the
/// folder, any other the new name.
fn place(here: &Path, path: &str) -> Result<(String, String)> {
    if !here.exists() {
        return Err(Failure::bad_input(format!("there is no {}", here.display())));
    }
    let own = here.canonicalize().ok().and_then(|here| Some(here.file_name()?.to_str()?.to_owned()));
    let own = own.ok_or_else(|| Failure::bad_input(format!("{} has no name", here.display())))?;
    if path.is_empty() || path.ends_with('/') {
        return Ok((if path.is_empty() { "/".to_owned() } else { path.to_owned() }, own));
    }
    match path.rsplit_once('/') {
        Some(("", name)) => Ok(("/".to_owned(), name.to_owned())),
        Some((folder, name)) => Ok((folder.to_owned(), name.to_owned())),
        None => Ok(("/".to_owned(), path.to_owned())),
    }
}

struct Chunks(mpsc::Sender<CopyInRequest>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(CHUNK)];
        let message = CopyInRequest { message: Some(Message::Chunk(part.to_vec())) };
        self.0.blocking_send(message).map_err(|_| io::Error::other("the connection broke"))?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn a_side_with_a_name_before_the_colon_is_a_replica() {
        assert_eq!(Side::of("web:/etc/hosts"), Side::Replica("web", "/etc/hosts"));
        assert_eq!(Side::of("shop/web:data"), Side::Replica("shop/web", "data"));
        for here in ["./a:b", "/tmp/a:b", "file", "-"] {
            assert_eq!(Side::of(here), Side::Here(Path::new(here)));
        }
    }

    #[test]
    fn what_comes_lands_in_a_folder_or_gets_the_new_name() {
        let folder = tempfile::tempdir().unwrap();
        let one = archive(&[("conf", "x")]);
        unpack(one.as_slice(), folder.path()).unwrap();
        unpack(one.as_slice(), &folder.path().join("other")).unwrap();
        for name in ["conf", "other"] {
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), "x");
        }
    }

    #[test]
    fn a_link_in_an_archive_leads_nobody_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let mut hostile = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        hostile.append_data(&mut header, "top", io::empty()).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        hostile.append_link(&mut header, "top/link", folder.path().join("outside")).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        hostile.append_data(&mut header, "top/link/file", &b"x"[..]).unwrap();
        let hostile = hostile.into_inner().unwrap();
        std::fs::create_dir(folder.path().join("outside")).unwrap();
        unpack(hostile.as_slice(), &folder.path().join("new")).unwrap_err();
        assert!(!folder.path().join("outside/file").exists());
    }

    #[test]
    fn a_slash_at_the_end_is_the_folder_and_anything_else_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("conf");
        std::fs::write(&here, "x").unwrap();
        let placed = |path: &str| place(&here, path).unwrap();
        assert_eq!(placed("/etc/"), ("/etc/".into(), "conf".into()));
        assert_eq!(placed("/etc/new"), ("/etc".into(), "new".into()));
        assert_eq!(placed("/new"), ("/".into(), "new".into()));
        assert!(place(&folder.path().join("nothing"), "/").is_err());
    }
}
