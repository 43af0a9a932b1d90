use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Failures of a connection that are told.
const FAILURES: usize = 20;

/// Requests without a pause over many connections, each of which counts: nothing is tried again.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// How many connections at once.
    pub connections: u32,
    /// Every other connection is used for one request only.
    pub mixed: bool,
    /// Each so many requests, this path is asked for instead of `/`.
    pub sometimes: Option<(u64, String)>,
    /// How many requests in all; `None`: until it is stopped.
    pub requests: Option<u64>,
    /// Each connection begins one request in each of these times, and all of them spread over it evenly: so a pause
    /// is a rate, however fast the answers are, as long as they take less than that. Zero: the next as soon as the
    /// one before is answered.
    pub pause: Duration,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests.
    pub sent: u64,
    /// Those that were answered with 200.
    pub ok: u64,
    /// What happened to the others: the first few of each connection, and the last.
    pub failed: Vec<Failure>,
    /// The answers' bodies, counted.
    pub bodies: BTreeMap<String, u64>,
}

/// A request that was not answered with 200.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it was begun.
    pub began: Instant,
    /// What happened instead.
    pub what: String,
}

/// A load that goes on.
pub struct Running {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    report: Arc<Mutex<Report>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Over 16 connections to `port` of this machine, half of them kept, until it is stopped.
    pub fn on(port: u16) -> Self {
        Self::to(([127, 0, 0, 1], port))
    }

    /// The same to any address.
    pub fn to(address: impl Into<SocketAddr>) -> Self {
        Self {
            address: address.into(),
            connections: 16,
            mixed: true,
            sometimes: None,
            requests: None,
            pause: Duration::ZERO,
        }
    }

    /// Begins.
    pub fn start(self) -> Running {
        let (stop, sent, report) = (Arc::default(), Arc::default(), Arc::default());
        let began = Instant::now();
        let threads = (0..self.connections)
            .map(|number| {
                let share = self.pause.mul_f64(f64::from(number) / f64::from(self.connections));
                let worker = Worker {
                    load: self.clone(),
                    first: began + share,
                    keep: !self.mixed || number % 2 == 0,
                    stop: Arc::clone(&stop),
                    sent: Arc::clone(&sent),
                    report: Arc::clone(&report),
                };
                std::thread::spawn(move || worker.run())
            })
            .collect();
        Running { stop, sent, report, threads }
    }
}

impl Running {
    /// How many requests were begun.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests were sent.
    pub fn pass(&self, more: u64) {
        let until = self.sent() + more;
        crate::eventually_within(Duration::from_mins(2), "requests go on", || {
            (self.sent() >= until).then_some(())
        });
    }

    /// How many connections have not done their part yet.
    pub fn unfinished(&self) -> usize {
        self.threads.iter().filter(|thread| !thread.is_finished()).count()
    }

    /// Ends it, unless it ends by itself, and tells.
    pub fn finish(mut self) -> Report {
        for thread in std::mem::take(&mut self.threads) {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.report.lock().unwrap())
    }

    /// Ends it, and tells.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }
}

impl Drop for Running {
    /// What a failed test leaves behind is no load on the next one.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Report {
    /// Every request must have been answered.
    #[track_caller]
    pub fn none_failed(&self, at_least: u64) {
        let failed = self.sent - self.ok;
        println!("{failed} of {} requests failed", self.sent);
        assert!(failed == 0, "{failed} of {} requests failed: {:#?}", self.sent, self.failed);
        assert!(self.sent >= at_least, "only {} requests", self.sent);
    }
}

impl Report {
    /// Every request that was begun since then must have been answered.
    #[track_caller]
    pub fn none_failed_since(&self, since: Instant) {
        let late: Vec<_> = self.failed.iter().filter(|failure| failure.began >= since).collect();
        println!("{} of {} requests failed, {} of them later", self.failed.len(), self.sent, late.len());
        assert!(late.is_empty(), "{} requests that were begun later failed: {late:#?}", late.len());
    }
}

struct Worker {
    load: Load,
    /// When its first request begins.
    first: Instant,
    keep: bool,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    report: Arc<Mutex<Report>>,
}

impl Worker {
    fn run(self) {
        let mut own = Report::default();
        let mut connection = None;
        let mut next = self.first;
        while self.waits_until(next) {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            if self.load.requests.is_some_and(|requests| number >= requests) {
                break;
            }
            own.sent += 1;
            let began = Instant::now();
            let mut failed = |what| {
                // The first say how it began, and the last that it has not ended.
                if own.failed.len() == FAILURES {
                    own.failed.pop();
                }
                own.failed.push(Failure { began, what });
            };
            let path = match &self.load.sometimes {
                Some((each, path)) if number.is_multiple_of(*each) => path.as_str(),
                _ => "/",
            };
            match self.ask(&mut connection, path) {
                Ok((200, body)) => {
                    own.ok += 1;
                    *own.bodies.entry(body).or_default() += 1;
                }
                Ok((status, body)) => failed(format!("{path}: status {status}: {body}")),
                Err(error) => {
                    connection = None;
                    failed(format!("{path}, keep-alive {}: {error}", self.keep));
                }
            }
            next = next_after(Instant::now(), next, self.load.pause);
        }
        let mut all = self.report.lock().unwrap();
        all.sent += own.sent;
        all.ok += own.ok;
        all.failed.extend(own.failed);
        for (body, count) in own.bodies {
            *all.bodies.entry(body).or_default() += count;
        }
    }

    /// Waits for the moment of the next request, and answers whether it is still wanted.
    #[allow(clippy::disallowed_methods)] // The rate of a load: nothing waits for it to have an effect.
    fn waits_until(&self, moment: Instant) -> bool {
        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
        !self.stop.load(Ordering::Relaxed)
    }

    fn ask(&self, connection: &mut Option<BufReader<TcpStream>>, path: &str) -> io::Result<(u16, String)> {
        if connection.is_none() {
            let stream = TcpStream::connect_timeout(&self.load.address, Duration::from_secs(10))?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.set_nodelay(true)?;
            *connection = Some(BufReader::new(stream));
        }
        let reader = connection.as_mut().unwrap();
        let keep = if self.keep { "" } else { "connection: close\r\n" };
        let request = format!("GET {path} HTTP/1.1\r\nhost: load.test\r\n{keep}\r\n");
        reader.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(io::Error::other(format!("hung up after {head:?}")));
            }
        }
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let field = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
        };
        let length: usize = field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if !self.keep || field("connection:").as_deref() == Some("close") {
            *connection = None;
        }
        Ok((status, String::from_utf8_lossy(&body).trim().to_owned()))
    }
}

/// The first moment of a row that is not over. Those that were missed are left out, so that a machine that stood still
/// gets the same rate afterwards, not all of it at once.
fn next_after(now: Instant, last: Instant, pause: Duration) -> Instant {
    let mut next = last + pause;
    while !pause.is_zero() && next < now {
        next += pause;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_stays_the_same_after_a_pause_of_the_machine() {
        let (begin, pause) = (Instant::now(), Duration::from_millis(100));
        assert_eq!(next_after(begin + pause / 2, begin, pause), begin + pause);
        assert_eq!(next_after(begin + pause * 7 / 2, begin, pause), begin + pause * 4, "not four at once");
        assert_eq!(next_after(begin + pause, begin, Duration::ZERO), begin, "at once");
    }
}
