//! What a connection costs that asked once and then keeps still.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::daemon::{open_files, pinned, rest};
use super::machine::{LOAD_CORE, SMALL};
use super::peers::Peer;
use super::sample::Sample;

/// Buffers that are freed late, and timers, have had their turn after this.
const SETTLE: Duration = Duration::from_secs(3);

/// The memory that `peer` takes for each of `connections`. A process of its own holds them.
pub fn measure(connections: u16, peer: &Peer) -> Result<Sample, Box<dyn Error>> {
    // The proxy needs some for its connections to the backend, too.
    if open_files() < u32::from(connections) + 200 {
        let needed = u32::from(connections) + 200;
        return Err(
            format!("a process may open {} files only\n  run `ulimit -n {needed}`", open_files()).into()
        );
    }
    peer.answers_rightly()?;
    rest(SETTLE);
    let before = peer.daemon.memory()?;
    let program = std::env::current_exe()?;
    let (count, port) = (connections.to_string(), peer.plain.to_string());
    let program = program.to_string_lossy();
    let command = [&*program, "idle", &count, &port];
    let mut holder =
        Holder(pinned(LOAD_CORE, &command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let output = holder.0.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let failures = match line.trim() {
        "open" => Vec::new(),
        "" => vec!["the connections could not be opened".to_owned()],
        failure => vec![failure.to_owned()],
    };
    rest(SETTLE);
    let after = peer.daemon.memory()?;
    let cost = (after - before) / f64::from(connections) / 1e3;
    Ok(Sample { cost, whole: after / 1e6, failures, ..Sample::default() })
}

struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        // It has no children, and nothing to finish.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other process: opens `count` connections, asks once on each, says so, and holds them until its
/// input ends.
pub fn hold(count: &str, port: &str) -> Result<(), Box<dyn Error>> {
    let (count, port): (u16, u16) = (count.parse()?, port.parse()?);
    let mut held = Vec::with_capacity(count.into());
    for number in 1..=count {
        match ask(port) {
            Ok(stream) => held.push(stream),
            Err(error) => {
                println!("connection {number} of {count}: {error}");
                return Ok(());
            }
        }
    }
    println!("open");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn ask(port: u16) -> Result<TcpStream, Box<dyn Error>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // In one piece: the second of several would wait 40 ms for the answer to the first.
    stream.write_all(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", SMALL.0).as_bytes())?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 2048]);
    let body = "x".repeat(SMALL.1);
    while !answer.ends_with(body.as_bytes()) {
        match stream.read(&mut buffer)? {
            0 => return Err("closed".into()),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    if answer.starts_with(b"HTTP/1.1 200") { Ok(stream) } else { Err("not 200".into()) }
}
