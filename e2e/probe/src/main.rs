//! A tiny program for containers under test: it serves, ends, prints, resolves and misbehaves on demand.
//!
//! `probe serve [PORT]` answers `GET /` with its host name, `/env/NAME`, `/resolve/NAME`,
//! `/fetch/HOST:PORT` (what is served there), `/file/PATH`, `/write/PATH`, `/exit/CODE` (ends itself),
//! `/slow/MILLIS`, `/sse` (events without end), `/ws` (WebSocket echo), `/header/NAME`, `/orphan` (leaves
//! a process without a parent, which ends soon), and what `health.rs` and `work.rs` say. With
//! `PROBE_NOTES=PATH` it writes there when it starts and when it is asked to end; with `PROBE_DEAF` it does
//! not hear that.
//! `probe echo PORT` echoes UDP packets at PORT and gRPC messages at the next one.
//! `probe check HOST:PORT` or `probe check URL` ends with 0 if a page is served there.

#![allow(clippy::disallowed_methods)] // It sleeps and exits on demand: that is what it is for.

mod echo;
mod health;
mod work;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _};
use std::process::{Command, exit};
use std::thread;
use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve"] => serve("8080"),
        ["serve", port] => serve(port),
        ["echo", port] => {
            end_when_asked();
            echo::serve(port.parse().unwrap_or(9000));
        }
        ["idle"] => {
            end_when_asked();
            forever();
        }
        ["stubborn"] => {
            // As process 1 of a container it gets no default handlers: SIGTERM does nothing.
            println!("not listening to anybody");
            forever();
        }
        ["print", lines @ ..] => lines.iter().for_each(|line| println!("{line}")),
        ["count", number] => {
            end_when_asked();
            for line in 1..=number.parse().unwrap_or(0) {
                println!("line {line}");
                thread::sleep(Duration::from_millis(100));
            }
        }
        ["exit", code] => {
            println!("ending with {code}");
            exit(code.parse().unwrap_or(1));
        }
        ["exit", code, "after", millis] => {
            end_when_asked();
            thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
            exit(code.parse().unwrap_or(1));
        }
        ["hog", mebibytes] => {
            println!("about to take {mebibytes} MiB");
            let size = mebibytes.parse::<usize>().unwrap_or(64) << 20;
            // Written to, so that it is really had.
            let memory: Vec<u8> = (0..size).map(|at| u8::try_from(at & 0xff).unwrap_or(0)).collect();
            println!("holding {} bytes", memory.len());
            forever();
        }
        ["check", place] => {
            let page = fetch(place.strip_prefix("http://").unwrap_or(place));
            println!("{}", page.as_deref().unwrap_or("no page"));
            exit(i32::from(page.is_none()));
        }
        ["note", path, words @ ..] => note(path, &words.join(" ")),
        // The child's parent ends here, so it gets another one: process 1.
        ["orphan"] => drop(Command::new("/proc/self/exe").args(["exit", "0", "after", "100"]).spawn()),
        ["exists", path] => exit(i32::from(!fs::exists(path).unwrap_or(false))),
        ["cat"] => {
            let mut input = Vec::new();
            let read = std::io::stdin().read_to_end(&mut input);
            if read.is_ok() && std::io::stdout().write_all(&input).is_ok() {
                exit(0);
            }
            exit(1);
        }
        ["env", name] => println!("{}", std::env::var(name).unwrap_or_default()),
        _ => {
            eprintln!("probe: what is {words:?}?");
            exit(64);
        }
    }
}

fn forever() -> ! {
    loop {
        thread::sleep(Duration::from_hours(1));
    }
}

/// Ends with 0 at the first SIGTERM.
fn end_when_asked() {
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM]) {
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                println!("asked to end");
                note_if_wanted("asked to end");
                exit(0);
            }
        });
    }
}

/// Adds a line to a file.
fn note(path: &str, words: &str) {
    let file = fs::File::options().create(true).append(true).open(path);
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{words}")) {
        eprintln!("probe: cannot write to {path}: {error}");
        exit(1);
    }
}

fn note_if_wanted(words: &str) {
    if let Ok(path) = std::env::var("PROBE_NOTES") {
        note(&path, words);
    }
}

fn serve(port: &str) {
    note_if_wanted("started");
    if std::env::var_os("PROBE_DEAF").is_none() {
        end_when_asked();
    }
    let listener = match TcpListener::bind(format!("0.0.0.0:{port}")) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("probe: cannot listen on {port}: {error}");
            exit(1);
        }
    };
    println!("serving on {port}");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || answer(stream));
    }
}

/// Answers request after request, as long as the client keeps the connection.
fn answer(mut stream: TcpStream) {
    let Ok(copy) = stream.try_clone() else { return };
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(copy);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.is_empty() {
            return;
        }
        let mut headers = String::new();
        while reader.read_line(&mut headers).is_ok_and(|count| count > 2) {}
        let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
        if path == "/sse" {
            return events(stream);
        }
        if path == "/ws" {
            return echo::web_socket(&headers, stream);
        }
        let close = line.contains("HTTP/1.0") || header(&headers, "connection") == "close";
        let (status, body) = match path.strip_prefix("/header/") {
            Some(name) => ("200 OK", header(&headers, name)),
            None => respond(&path),
        };
        let keep = if close { "close" } else { "keep-alive" };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: {keep}\r\n\r\n{body}",
            body.len()
        );
        // A client that has gone needs no answer.
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
        if let Some(code) = path.strip_prefix("/exit/") {
            let _ = stream.flush();
            exit(code.parse().unwrap_or(1));
        }
        if close {
            return;
        }
    }
}

fn header(headers: &str, name: &str) -> String {
    let mut found = headers.lines().filter_map(|line| line.split_once(':'));
    let value = found.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    value.unwrap_or_default().to_owned()
}

/// An event each 200 ms, until the client leaves.
fn events(mut stream: TcpStream) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let mut sent = stream.write_all(head.as_bytes());
    let mut number = 0;
    while sent.is_ok() {
        number += 1;
        sent = stream.write_all(format!("data: {number}\n\n").as_bytes());
        thread::sleep(Duration::from_millis(200));
    }
}

fn respond(path: &str) -> (&'static str, String) {
    let ok = |body: String| ("200 OK", body);
    let failed = |body: String| ("502 Bad Gateway", body);
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    if let Some(answer) = health::answer(path).or_else(|| work::answer(path)) {
        answer
    } else if path == "/orphan" {
        match Command::new("/proc/self/exe").arg("orphan").status() {
            Ok(_) => ok(String::new()),
            Err(error) => failed(error.to_string()),
        }
    } else if let Some(name) = path.strip_prefix("/env/") {
        ok(std::env::var(name).unwrap_or_default())
    } else if let Some(name) = path.strip_prefix("/resolve/") {
        match (name, 0).to_socket_addrs() {
            Ok(found) => {
                let mut addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
                addresses.sort();
                addresses.dedup();
                ok(addresses.join("\n"))
            }
            Err(error) => failed(error.to_string()),
        }
    } else if let Some(address) = path.strip_prefix("/fetch/") {
        fetch(address).map_or_else(|| failed(format!("cannot fetch {address}")), ok)
    } else if let Some(millis) = path.strip_prefix("/slow/") {
        thread::sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
        ok(text("/etc/hostname"))
    } else if let Some(path) = path.strip_prefix("/file") {
        ok(text(path))
    } else if let Some(path) = path.strip_prefix("/write") {
        match fs::write(path, "written") {
            Ok(()) => ok(String::new()),
            Err(error) => failed(error.to_string()),
        }
    } else {
        ok(text("/etc/hostname"))
    }
}

/// What is served at `host:port`, or at `host:port/path`.
fn fetch(place: &str) -> Option<String> {
    let (address, path) = place.split_once('/').unwrap_or((place, ""));
    let address = address.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(format!("GET /{path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}
