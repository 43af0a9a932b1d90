//! An archive in pieces: how it is cut up, and how the other side knows that it got all of it.
//!
//! The last bytes are held back until the end has come and its checksum agrees. Engines begin to work on an
//! archive before they have all of it, but none takes one for whole whose last bytes never came.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gantry_api::node::v1::piece::Kind as PieceKind;
use gantry_api::node::v1::{ArchiveBegin, ArchiveEnd, Piece};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::engine::{Error, Flow, Kind};

/// The largest piece that is sent.
const LARGEST: usize = 256 << 10;
/// The largest piece that is taken.
const MAX_TAKEN: usize = 1 << 20;
/// Bytes that are held back until the end has come: more than an archive's padding.
const HELD_BACK: usize = 64 << 10;
/// Pieces that wait for a slow reader.
const QUEUE: usize = 8;

/// Why what came is not the archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It did not begin as it should.
    #[error("it did not begin as an archive does")]
    Beginning,
    /// A message that is no piece, or too large a one.
    #[error("a piece of it makes no sense")]
    Piece,
    /// It ended in the middle.
    #[error("it ended after {0} bytes, before all had come")]
    Cut(u64),
    /// Other bytes came than were sent.
    #[error("{0} bytes came and their checksum is wrong")]
    Damaged(u64),
}

/// What a piece brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The archive begins, of about so many bytes.
    Begin(u64),
    /// These bytes may be used.
    Bytes(Vec<Bytes>),
    /// These are the last ones. All that came is what was sent.
    Last(Vec<Bytes>),
}

/// Takes an archive's pieces, and tells whether it is whole.
#[derive(Default)]
pub struct Check {
    begun: bool,
    bytes: u64,
    hash: Sha256,
    held: VecDeque<Bytes>,
    held_bytes: usize,
}

impl Check {
    /// Takes the next piece.
    pub fn take(&mut self, piece: Option<Piece>) -> Result<Taken, Broken> {
        match (piece.and_then(|piece| piece.kind), self.begun) {
            (Some(PieceKind::Begin(begin)), false) => {
                self.begun = true;
                Ok(Taken::Begin(begin.about))
            }
            (Some(PieceKind::Data(data)), true) if data.len() <= MAX_TAKEN => {
                self.bytes += data.len() as u64;
                self.hash.update(&data);
                self.held_bytes += data.len();
                self.held.push_back(Bytes::from(data));
                Ok(Taken::Bytes(self.release()))
            }
            (Some(PieceKind::End(end)), true) => {
                let whole = end.bytes == self.bytes
                    && end.sha256 == std::mem::take(&mut self.hash).finalize().as_slice();
                if !whole {
                    return Err(Broken::Damaged(self.bytes));
                }
                Ok(Taken::Last(std::mem::take(&mut self.held).into()))
            }
            (_, false) => Err(Broken::Beginning),
            (_, true) => Err(Broken::Piece),
        }
    }

    /// The pieces stopped coming before the end.
    pub fn cut(&self) -> Broken {
        Broken::Cut(self.bytes)
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn release(&mut self) -> Vec<Bytes> {
        let mut free = Vec::new();
        while let Some(first) = self.held.front()
            && self.held_bytes - first.len() >= HELD_BACK
        {
            self.held_bytes -= first.len();
            free.extend(self.held.pop_front());
        }
        free
    }
}

/// Cuts an archive of about `about` bytes into pieces. An archive that cannot be read to its end has no end.
pub fn cut(mut archive: Flow<Bytes>, about: u64) -> ReceiverStream<Result<Piece, Error>> {
    let (pieces, stream) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let piece = |kind| Ok(Piece { kind: Some(kind) });
        if pieces.send(piece(PieceKind::Begin(ArchiveBegin { about }))).await.is_err() {
            return;
        }
        let (mut bytes, mut hash) = (0, Sha256::new());
        loop {
            let next = tokio::select! {
                next = archive.next() => next,
                () = pieces.closed() => return,
            };
            let Some(chunk) = next else { break };
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    let _ = pieces.send(Err(error)).await;
                    return;
                }
            };
            bytes += chunk.len() as u64;
            hash.update(&chunk);
            for part in chunk.chunks(LARGEST) {
                if pieces.send(piece(PieceKind::Data(part.to_vec()))).await.is_err() {
                    return;
                }
            }
        }
        let end = if bytes == 0 {
            Err(Error::new(Kind::Internal, "the Docker Engine sent an empty archive"))
        } else {
            piece(PieceKind::End(ArchiveEnd { bytes, sha256: hash.finalize().to_vec() }))
        };
        let _ = pieces.send(end).await;
    });
    ReceiverStream::new(stream)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn pieces_of(archive: &[u8], chunk: usize) -> Vec<Piece> {
        let chunks: Vec<_> = archive.chunks(chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let cut = cut(Box::pin(futures_util::stream::iter(chunks)), archive.len() as u64);
        cut.map(|piece| piece.unwrap()).collect().await
    }

    /// What came out, and whether it was found to be whole.
    fn taken(pieces: Vec<Piece>) -> (Vec<u8>, Result<(), Broken>) {
        let (mut check, mut out) = (Check::default(), Vec::new());
        for piece in pieces {
            match check.take(Some(piece)) {
                Ok(Taken::Begin(_)) => {}
                Ok(Taken::Bytes(bytes)) => out.extend(bytes.concat()),
                Ok(Taken::Last(bytes)) => {
                    out.extend(bytes.concat());
                    return (out, Ok(()));
                }
                Err(broken) => return (out, Err(broken)),
            }
        }
        (out, Err(check.cut()))
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_sent_comes_out(archive in prop::collection::vec(any::<u8>(), 1..300_000), chunk in 1000_usize..400_000) {
            let (out, whole) = taken(block(pieces_of(&archive, chunk)));
            prop_assert_eq!(whole, Ok(()));
            prop_assert!(out == archive);
        }

        #[test]
        fn one_bit_a_lost_piece_or_a_cut_is_noticed_and_the_last_bytes_never_come_out(
            archive in prop::collection::vec(any::<u8>(), 70_000..200_000), chunk in 1000_usize..50_000,
            which in any::<prop::sample::Index>(), bit in 0_u8..8, how in 0..3
        ) {
            let mut pieces = block(pieces_of(&archive, chunk));
            let at = 1 + which.index(pieces.len() - 2);
            match how {
                0 => if let Some(PieceKind::Data(data)) = &mut pieces[at].kind { data[0] ^= 1 << bit },
                1 => drop(pieces.remove(at)),
                _ => pieces.truncate(at),
            }
            let (out, whole) = taken(pieces);
            prop_assert!(whole.is_err());
            prop_assert!(out.len() + HELD_BACK <= archive.len());
        }
    }

    #[test]
    fn an_archive_that_cannot_be_read_has_no_end() {
        let chunks =
            vec![Ok(Bytes::from_static(b"half")), Err(Error::new(Kind::Internal, "input/output error"))];
        let pieces: Vec<_> =
            block(async { cut(Box::pin(futures_util::stream::iter(chunks)), 0).collect().await });
        assert_eq!(pieces.last().unwrap().as_ref().unwrap_err().message, "input/output error");
        assert!(pieces.iter().flatten().all(|piece| !matches!(piece.kind, Some(PieceKind::End(_)))));
    }

    #[test]
    fn bytes_before_the_beginning_are_refused() {
        let data = Piece { kind: Some(PieceKind::Data(vec![1])) };
        assert_eq!(Check::default().take(Some(data)), Err(Broken::Beginning));
        assert_eq!(Check::default().take(None), Err(Broken::Beginning));
    }
}
