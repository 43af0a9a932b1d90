//! What is in a tar archive, in 32 bytes: two archives of the same files have the same fingerprint, in
//! whatever order they come.
//!
//! Of every entry count its path, kind, owner, rights, target, extended attributes and content, and not its
//! times: to unpack a folder changes those of the folders above.

use std::io::{self, Read};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::engine::{Error, Kind};

/// Pieces that wait to be read.
const QUEUE: usize = 8;

/// What is in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// The sum of the entries' hashes, so that their order does not matter.
    sum: [u64; 4],
    entries: u64,
}

/// Takes an archive's bytes; [`Reading::finish`] says what was in it.
pub struct Reading {
    bytes: mpsc::Sender<Bytes>,
    result: JoinHandle<io::Result<Fingerprint>>,
}

impl Reading {
    /// Begins to read, on a thread of its own.
    pub fn begin() -> Self {
        let (bytes, incoming) = mpsc::channel(QUEUE);
        let result = tokio::task::spawn_blocking(move || read(Incoming { incoming, rest: Bytes::new() }));
        Self { bytes, result }
    }

    /// Where the bytes go. The archive ends when all senders are gone.
    pub fn bytes(&self) -> mpsc::Sender<Bytes> {
        self.bytes.clone()
    }

    /// What was in it.
    pub async fn finish(self) -> Result<Fingerprint, Error> {
        drop(self.bytes);
        let failed = |why: String| {
            Error::new(Kind::Internal, format!("the archive of the volume cannot be read: {why}"))
        };
        match self.result.await {
            Ok(Ok(fingerprint)) => Ok(fingerprint),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

struct Incoming {
    incoming: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.incoming.blocking_recv() {
                Some(bytes) => self.rest = bytes,
                None => return Ok(0),
            }
        }
        let count = out.len().min(self.rest.len());
        out[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

fn read(mut incoming: impl Read) -> io::Result<Fingerprint> {
    let mut found = Fingerprint { sum: [0; 4], entries: 0 };
    let mut archive = tar::Archive::new(&mut incoming);
    for entry in archive.entries()? {
        let hash = hash_of(entry?)?;
        for (sum, bytes) in found.sum.iter_mut().zip(hash.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            *sum = sum.wrapping_add(u64::from_le_bytes(word));
        }
        found.entries += 1;
    }
    // Whoever sends must not wait for a reader that has seen the end.
    io::copy(&mut incoming, &mut io::sink())?;
    Ok(found)
}

fn hash_of<R: Read>(mut entry: tar::Entry<'_, R>) -> io::Result<Vec<u8>> {
    let mut hash = Sha256::new();
    // Each part with its length, so that no two entries look alike.
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let path = entry.path_bytes().into_owned();
    part(path.strip_suffix(b"/").unwrap_or(&path));
    part(&[entry.header().entry_type().as_byte()]);
    part(&entry.header().mode()?.to_le_bytes());
    part(&entry.header().uid()?.to_le_bytes());
    part(&entry.header().gid()?.to_le_bytes());
    part(&entry.link_name_bytes().unwrap_or_default());
    if let Some(extensions) = entry.pax_extensions()? {
        let mut attributes = Vec::new();
        for extension in extensions {
            let extension = extension?;
            if extension.key_bytes().starts_with(b"SCHILY.xattr.") {
                attributes.push((extension.key_bytes().to_vec(), extension.value_bytes().to_vec()));
            }
        }
        attributes.sort();
        for (name, value) in attributes {
            part(&name);
            part(&value);
        }
    }
    part(&entry.size().to_le_bytes());
    let mut content = Sha256::new();
    io::copy(&mut entry, &mut HashWriter(&mut content))?;
    part(&content.finalize());
    Ok(hash.finalize().to_vec())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type File<'a> = (&'a str, &'a [u8], u32, u64);

    /// An archive of files with their contents, modes and owners.
    fn archive(files: &[File], time: u64) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content, mode, owner) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_uid(*owner);
            header.set_gid(0);
            header.set_mtime(time);
            archive.append_data(&mut header, path, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn of(archive: &[u8]) -> Fingerprint {
        read(archive).unwrap()
    }

    const FILES: [File; 3] =
        [("volume/a", b"one", 0o644, 0), ("volume/b", b"two", 0o600, 999), ("volume/c", b"", 0o644, 0)];

    #[test]
    fn order_and_times_do_not_matter() {
        let mut turned = FILES;
        turned.reverse();
        assert_eq!(of(&archive(&FILES, 1)), of(&archive(&turned, 2)));
    }

    #[test]
    fn everything_else_does() {
        let before = of(&archive(&FILES, 1));
        let changes: [fn(&mut Vec<File>); 6] = [
            |files| files[0].0 = "volume/d",
            |files| files[0].1 = b"onE",
            |files| files[1].2 = 0o644,
            |files| files[1].3 = 0,
            |files| files.truncate(2),
            |files| files.push(files[2]),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut files = FILES.to_vec();
            change(&mut files);
            assert_ne!(of(&archive(&files, 1)), before, "change {number}");
        }
    }

    #[tokio::test]
    async fn an_archive_is_read_as_it_comes_and_a_long_path_is_one_path() {
        let long = format!("volume/{}/file", "folder/".repeat(40));
        let whole = archive(&[(&long, b"content", 0o644, 0)], 1);
        let reading = Reading::begin();
        let bytes = reading.bytes();
        for piece in whole.chunks(100) {
            bytes.send(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        drop(bytes);
        let found = reading.finish().await.unwrap();
        assert_eq!((found, found.entries), (of(&whole), 1));
    }

    #[tokio::test]
    async fn half_an_archive_is_an_error() {
        let whole = archive(&[("volume/a", &[7; 5000], 0o644, 0)], 1);
        let reading = Reading::begin();
        reading.bytes().send(Bytes::copy_from_slice(&whole[..2000])).await.unwrap();
        assert!(reading.finish().await.unwrap_err().message.contains("cannot be read"));
    }
}
