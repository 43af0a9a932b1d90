//! A proxy for hostile input, with what it must not lose: descriptors and memory.

use std::fs;
use std::net::SocketAddr;

use super::client::Client;
use super::eventually;
use super::process::Process;
use super::upstream::Upstream;

/// How much a test may make the proxy grow.
const MAX_GROWTH_KB: u64 = 30 << 10;
/// Descriptors that may come and go by themselves.
const SLACK: usize = 5;

/// A proxy with one listener and one upstream.
pub struct Fixture {
    pub address: SocketAddr,
    pub upstream: Upstream,
    process: Process,
    descriptors: usize,
    memory: u64,
}

impl Fixture {
    /// With the usual limits.
    pub fn start() -> Self {
        Self::with("")
    }

    /// With more in the file's `[limits]`.
    pub fn with(limits: &str) -> Self {
        let upstream = Upstream::start();
        // Failures are the tests' own: no endpoint is left out for them.
        let process = Process::start_in(
            tempfile::tempdir().unwrap(),
            &format!(
                "workers = 2\n[limits]\n{limits}\n[[listen]]\nport = @a\naddress = \"127.0.0.1\"\nprotocol = \
                 \"http\"\nbackend = \"web\"\n[backend.web]\nendpoints = [\"{}\"]\nprotocol = \
                 \"http1\"\neject_after = 0\n",
                upstream.address
            ),
        );
        let address = process.at('a');
        let mut fixture = Self { address, upstream, process, descriptors: 0, memory: 0 };
        // What is allocated once and kept is not growth: one round first.
        assert_eq!(fixture.ask("/first"), "GET /first");
        fixture.upstream.take();
        fixture.descriptors = fixture.descriptors();
        fixture.memory = fixture.memory();
        fixture
    }

    /// A new connection to the proxy.
    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The body of the answer to a plain request on a connection of its own.
    pub fn ask(&self, path: &str) -> String {
        let mut client = self.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let (reply, rest) = client.only_reply();
        let reply = reply.unwrap_or_else(|| panic!("no answer: {}", self.process.output()));
        assert!(rest.is_empty() && reply.status == 200, "{}: {}", reply.status, reply.text());
        reply.text()
    }

    /// That the proxy lives and serves, that nothing that reached the upstream could be read in two ways,
    /// and that no descriptor and no memory is lost. Every test ends with it.
    pub fn finish(mut self) {
        assert_eq!(self.ask("/last"), "GET /last");
        let requests: Vec<_> = self.upstream.take().into_iter().map(|request| request.target).collect();
        assert_eq!(requests, ["/last"], "something refused came late");
        assert_eq!(self.upstream.unclear(), Vec::<String>::new());
        self.upstream.stop();
        let fine = eventually(|| self.descriptors() <= self.descriptors + SLACK);
        assert!(fine, "{} descriptors, and {} at first", self.descriptors(), self.descriptors);
        // The allocator gives pages back a moment after they were freed.
        let fine = eventually(|| self.memory() <= self.memory + MAX_GROWTH_KB);
        assert!(fine, "{} KB, and {} at first", self.memory(), self.memory);
        assert!(self.process.is_running(), "{}", self.process.output());
    }

    /// Waits until nothing more reaches the upstream of what was sent and given up, and forgets what did.
    pub fn settle(&self) {
        let quiet = eventually(|| {
            std::thread::park_timeout(std::time::Duration::from_millis(100));
            self.upstream.take().is_empty()
        });
        assert!(quiet, "requests do not stop coming");
    }

    /// How much memory the process has, in KB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.upstream.stop();
    }
}
