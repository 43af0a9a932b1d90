//! The proxy's process, started with a file of a test's own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::client::{Client, Reply};
use super::eventually;

/// A listener of HTTP at `@a`, with nothing behind it yet; more of its keys may follow.
pub const LISTEN: &str = "[[listen]]\naddress = \"127.0.0.1\"\nport = @a\nprotocol = \"http\"\n";

/// A running proxy.
pub struct Process {
    child: Child,
    folder: tempfile::TempDir,
    ports: BTreeMap<char, u16>,
}

impl Process {
    /// Starts a proxy of one core by `file`, in which `@a`, `@b` and so on stand for free ports.
    pub fn start(file: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &format!("workers = 1\n{file}"))
    }

    /// The same in a folder that has the files that `file` names; on as many cores as it says.
    pub fn start_in(folder: tempfile::TempDir, file: &str) -> Self {
        let output = folder.path().join("output");
        let mut folder = Some(folder);
        // Another test may take a port that was free a moment ago: then again, with others.
        for _ in 0..5 {
            let ports = ports_of(file);
            let path = folder.as_ref().unwrap().path().join("proxy.toml");
            fs::write(&path, fill(file, &ports)).unwrap();
            let out = fs::File::create(&output).unwrap();
            let mut child = Command::new(env!("CARGO_BIN_EXE_gantry-proxy"))
                .arg("--config")
                .arg(&path)
                .stdout(out.try_clone().unwrap())
                .stderr(out)
                .spawn()
                .unwrap();
            let mut ended = false;
            let up = eventually(|| {
                ended = child.try_wait().unwrap().is_some();
                ended || fs::read_to_string(&output).unwrap_or_default().contains("proxy ready")
            });
            if up && !ended {
                return Self { child, folder: folder.take().unwrap(), ports };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("the proxy does not start: {}", fs::read_to_string(&output).unwrap_or_default());
    }

    /// Where it listens.
    pub fn at(&self, port: char) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[&port]).into()
    }

    /// A new connection to `@a`.
    pub fn client(&self) -> Client {
        Client::connect(self.at('a'))
    }

    /// The answer to GET, on a connection of its own.
    pub fn get(&self, path: &str, fields: &str) -> Reply {
        self.client().get(path, fields)
    }

    /// What an admin page at `@z` shows.
    pub fn page(&self, path: &str) -> String {
        // They come up beside the traffic's ports, and may come a moment later.
        assert!(eventually(|| TcpStream::connect(self.at('z')).is_ok()), "no admin page answers");
        let mut client = Client::connect(self.at('z'));
        let reply = client.get(path, "Connection: close\r\n");
        assert_eq!(reply.status, 200, "{path}");
        reply.content()
    }

    /// Writes another file, by which the proxy serves soon.
    pub fn change(&self, file: &str) {
        let path = self.path("proxy.toml");
        // In one step, as editors do: half a file would be told as a mistake.
        let next = self.path("next.toml");
        fs::write(&next, fill(&format!("workers = 1\n{file}"), &self.ports)).unwrap();
        fs::rename(next, path).unwrap();
    }

    /// A file in the proxy's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it said.
    pub fn output(&self) -> String {
        read(&self.path("output"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the proxy said:\n{}", self.output());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A free port for each `@x` in `file`, for TCP and for UDP.
fn ports_of(file: &str) -> BTreeMap<char, u16> {
    let names = file.match_indices('@').filter_map(|(at, _)| file[at + 1..].chars().next());
    let names = names.filter(char::is_ascii_lowercase).collect::<std::collections::BTreeSet<_>>();
    // Held until all are known, so that no port is found twice.
    let held: Vec<_> = names.into_iter().map(|name| (name, free())).collect();
    held.iter().map(|(name, (tcp, _))| (*name, tcp.local_addr().unwrap().port())).collect()
}

fn free() -> (TcpListener, UdpSocket) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (tcp, udp);
        }
    }
}

fn fill(file: &str, ports: &BTreeMap<char, u16>) -> String {
    ports
        .iter()
        .fold(file.to_owned(), |file, (name, port)| file.replace(&format!("@{name}"), &port.to_string()))
}

/// A port at which connections are refused, and that nobody else gets, until it listens.
pub struct Refusing(socket2::Socket);

impl Refusing {
    pub fn start() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((IpAddr::from([127, 0, 0, 1]), 0)).into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// Takes connections from now on.
    pub fn listen(self) -> TcpListener {
        self.0.listen(128).unwrap();
        self.0.into()
    }
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    let _ = socket.set_linger(Some(std::time::Duration::ZERO));
}

/// `[backend.NAME]` of these endpoints, with more of its keys.
pub fn backend(name: &str, endpoints: &[SocketAddr], keys: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    format!("[backend.{name}]\nendpoints = {endpoints:?}\n{keys}\n")
}
