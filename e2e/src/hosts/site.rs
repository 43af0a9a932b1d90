use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait::eventually_within;

/// Another run may be at work there for as long as a suite takes.
const OTHERS: Duration = Duration::from_mins(15);

/// A place for hosts: their names, addresses and folder. Two sites do not disturb each other.
#[derive(Debug, Clone)]
pub struct Site {
    /// Of the switch and, with a number, of namespaces and cables: a link's name has at most 15 letters.
    name: &'static str,
    network: [u8; 3],
}

impl Site {
    /// Where tests have their hosts.
    pub fn tests() -> Self {
        Self { name: "gantry-t", network: [10, 97, 0] }
    }

    /// Where `make hosts` leaves hosts running.
    pub fn by_hand() -> Self {
        Self { name: "gantry-h", network: [10, 99, 0] }
    }

    /// The name of its switch, and of everything that is marked.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// An address there.
    pub(super) fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, last)
    }

    /// All its addresses.
    pub(super) fn range(&self) -> String {
        format!("{}/24", self.address(0))
    }

    /// Where data, sockets and logs of its hosts lie: on a disk, since overlay file systems need one.
    pub fn folder(&self) -> PathBuf {
        Path::new("/var/tmp").join(self.name)
    }

    /// Waits until nobody else is there, and keeps others away until what this answers with is dropped.
    pub(super) fn occupy(self) -> Occupied {
        let path = self.folder().with_extension("lock");
        let open = File::options().create(true).append(true).open(&path);
        let lock =
            open.unwrap_or_else(|error| panic!("cannot open {}: {error}; are you root?", path.display()));
        let what = format!("another run has the hosts of {}", path.display());
        eventually_within(OTHERS, &what, || match lock.try_lock() {
            Ok(()) => Some(()),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => panic!("cannot lock {}: {error}", path.display()),
        });
        Occupied { folder: self.folder(), site: self, _lock: lock }
    }
}

/// A site that is this process's alone.
pub struct Occupied {
    site: Site,
    folder: PathBuf,
    _lock: File,
}

/// Something that was made and has to be removed, as its line in the list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// The bridge, with its address and rules.
    Switch,
    /// A host with all that is in it.
    Host(u8),
}

impl Occupied {
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn list(&self) -> PathBuf {
        self.folder.join("made")
    }

    /// Writes down what is about to be made.
    pub(super) fn note(&self, made: &Made) {
        let line = match made {
            Made::Switch => "switch\n".to_owned(),
            Made::Host(number) => format!("host {number}\n"),
        };
        let mut list = File::options().create(true).append(true).open(self.list()).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }

    /// What was made and not removed, in order.
    pub(super) fn made(&self) -> Vec<Made> {
        let text = match fs::read_to_string(self.list()) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => panic!("cannot read {}: {error}", self.list().display()),
        };
        let made = text.lines().filter_map(|line| match line.split_once(' ') {
            None => (line == "switch").then_some(Made::Switch),
            Some((_, number)) => number.parse().ok().map(Made::Host),
        });
        made.collect()
    }

    /// The numbers of the hosts that were made.
    pub(super) fn hosts(&self) -> Vec<u8> {
        let number = |made| match made {
            Made::Host(number) => Some(number),
            Made::Switch => None,
        };
        self.made().into_iter().filter_map(number).collect()
    }

    /// Nothing is there any more.
    pub(super) fn forget(&self) {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                panic!("cannot remove {}: {error}", self.folder.display())
            }
            _ => {}
        }
    }
}
