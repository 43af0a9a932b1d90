//! Hands the listening sockets to a successor, so that no connection is refused while one proxy takes
//! over from another.
//!
//! The old proxy listens on a Unix socket. The new one connects, and gets every listening socket with the
//! name of its place (`SCM_RIGHTS`, see unix(7)). It begins to serve on them, and says so with one byte;
//! only then does the old one stop taking connections. It ends when its last request has.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::engine::Listening;
use crate::plan::Place;

/// Neither side waits longer for the other.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_NAME: usize = 256;
/// Sockets that are handed over at most.
const MAX_SOCKETS: usize = 65_536;

/// What an old proxy has left, and the way to tell it that this one serves.
pub struct Inheritance {
    /// The listening sockets.
    pub sockets: HashMap<Place, Listening>,
    from: UnixStream,
}

impl Inheritance {
    /// This proxy serves: the old one can end.
    pub fn take_over(mut self) -> io::Result<()> {
        use std::io::Write as _;
        self.from.write_all(b"!")
    }
}

/// Asks the proxy that listens at `path` for its sockets; `None` if there is none.
pub fn ask(path: &Path) -> io::Result<Option<Inheritance>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut sockets = HashMap::new();
    while let Some((place, socket)) = receive(&stream)? {
        if sockets.len() >= MAX_SOCKETS {
            return Err(io::Error::other("the proxy that is to be relieved has too many sockets"));
        }
        let listening = match place {
            Place::Udp(..) => Listening::Udp(UdpSocket::from(socket)),
            Place::Tcp(..) | Place::Virtual(..) => Listening::Tcp(TcpListener::from(socket)),
        };
        sockets.insert(place, listening);
    }
    Ok(Some(Inheritance { sockets, from: stream }))
}

fn receive(stream: &UnixStream) -> io::Result<Option<(Place, OwnedFd)>> {
    let mut name = [0; MAX_NAME];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let socket = sockets.next().and_then(|mut rights| rights.next());
    let name = std::str::from_utf8(&name[..received.bytes]).unwrap_or_default().trim_end_matches('\0');
    match socket {
        Some(socket) => {
            let place = name.parse().map_err(|()| io::Error::other(format!("{name:?} is not a place")))?;
            Ok(Some((place, socket)))
        }
        None if name == "end" => Ok(None),
        None => Err(io::Error::other("the proxy that is to be relieved does not say what it has")),
    }
}

/// Listens for a successor at `path`, in place of whoever did before.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

/// Gives a successor the sockets, and waits until it serves.
pub fn give(stream: &UnixStream, sockets: &[(Place, Listening)]) -> io::Result<()> {
    use std::io::Read as _;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    for (place, listening) in sockets {
        let socket = match listening {
            Listening::Tcp(listener) => listener.as_fd(),
            Listening::Udp(socket) => socket.as_fd(),
        };
        // One message of one size each, so that none runs into the next.
        let mut name = [0; MAX_NAME];
        let text = place.name();
        name[..text.len()].copy_from_slice(text.as_bytes());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket];
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        sendmsg(stream, &[IoSlice::new(&name)], &mut control, SendFlags::empty())?;
    }
    let mut end = [0; MAX_NAME];
    end[..3].copy_from_slice(b"end");
    sendmsg(stream, &[IoSlice::new(&end)], &mut SendAncillaryBuffer::default(), SendFlags::empty())?;
    let mut word = [0; 1];
    let mut stream = stream;
    stream.read_exact(&mut word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_gets_the_same_sockets_and_says_when_it_serves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover");
        assert!(ask(&path).unwrap().is_none(), "nobody was there before");
        let listener = listen(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (port, address) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap());
        let places = [
            (Place::Tcp(Some([127, 0, 0, 1].into()), port), Listening::Tcp(tcp)),
            (Place::Udp(None, address.port()), Listening::Udp(udp)),
        ];
        let old = std::thread::spawn(move || give(&listener.accept().unwrap().0, &places));
        let inheritance = ask(&path).unwrap().unwrap();
        assert_eq!(inheritance.sockets.len(), 2);
        let Some(Listening::Udp(same)) = inheritance.sockets.get(&Place::Udp(None, address.port())) else {
            panic!()
        };
        assert_eq!(same.local_addr().unwrap(), address);
        inheritance.take_over().unwrap();
        old.join().unwrap().unwrap();
    }
}
