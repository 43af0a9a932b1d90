//! Five minutes of good, slow and hostile clients at once against one proxy: nothing may leak. Prints
//! descriptors and memory of the process before and after, and fails if they have grown.
//!
//! `GANTRY_BENCH_SECONDS` is how long (300).

#![allow(clippy::unwrap_used, clippy::expect_used)] // A bench that cannot be set up has failed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gantry_e2e::{Load, after, eventually};

const PORT: u16 = 18_190;
const BACKEND: u16 = 18_191;
/// What stays allocated after a storm: buffers that the allocator keeps.
const SLACK_KB: u64 = 8 << 10;

/// Beginnings and nonsense, each sent on a connection that is then dropped, at once or after a while.
const HOSTILE: [&[u8]; 10] = [
    b"",
    b"GET / HT",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /sse HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\x16\x03\x01\x00\x05hello",
];

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn counts(process: &Process) -> (usize, u64) {
    let folder = format!("/proc/{}", process.0.id());
    let descriptors = std::fs::read_dir(format!("{folder}/fd")).unwrap().count();
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    (descriptors, line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

fn main() {
    let seconds = std::env::var("GANTRY_BENCH_SECONDS").map_or(300, |text| text.parse().unwrap());
    let program = std::env::var_os("GANTRY_PROXY_BIN").expect("run it with `make bench BENCH=soak`");
    let probe = Path::new(&program).with_file_name("gantry-probe");
    let folder = tempfile::tempdir().unwrap();
    let file = format!(
        "[limits]\nheader_timeout = \"2s\"\nbody_timeout = \"2s\"\n[[listen]]\nport = {PORT}\nbackend = \"web\"\n\
         [backend.web]\nendpoints = [\"127.0.0.1:{BACKEND}\"]\n"
    );
    std::fs::write(folder.path().join("proxy.toml"), file).unwrap();
    let _backend = Process(Command::new(probe).args(["serve", &BACKEND.to_string()]).spawn().unwrap());
    let proxy = Process(
        Command::new(program).args(["--config", "proxy.toml"]).current_dir(folder.path()).spawn().unwrap(),
    );
    eventually("it serves", || TcpStream::connect(("127.0.0.1", PORT)).ok());
    // Warm: what is made once is made.
    Load { requests: Some(20_000), ..Load::on(PORT) }.start().finish().none_failed(20_000);
    storm(Duration::from_secs(5));
    let quiet = || {
        after(Duration::from_secs(8));
        counts(&proxy)
    };
    let before = quiet();
    println!("before: {} descriptors, {} KB", before.0, before.1);

    let load = Load { pause: Duration::from_millis(2), ..Load::on(PORT) }.start();
    let hostile = storm(Duration::from_secs(seconds));
    let report = load.stop();
    report.none_failed(1_000);
    let last = quiet();
    println!(
        "after {seconds} s, {} requests and {hostile} hostile connections: {} descriptors, {} KB",
        report.sent, last.0, last.1
    );
    assert!(last.0 <= before.0 + 5, "descriptors leak");
    assert!(last.1 <= before.1 + SLACK_KB, "memory leaks");
}

/// Bad clients for so long; answers with how many.
fn storm(time: Duration) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..HOSTILE.len())
        .map(|at| {
            let (count, over) = (count.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", PORT)) else { continue };
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(number % 50 + 1)));
                    let _ = stream.write_all(HOSTILE[at]);
                    let _ = stream.read(&mut [0; 64]);
                }
            })
        })
        .collect();
    let until = Instant::now() + time;
    while Instant::now() < until {
        after(Duration::from_millis(100));
    }
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    count.load(Ordering::Relaxed)
}
