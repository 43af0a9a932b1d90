//! The access log: one line a request, written by a thread of its own.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Method, StatusCode, Version};

/// Lines that may wait to be written; what is more is dropped and counted.
const QUEUE: usize = 8192;
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    #[default]
    Json,
    /// As Apache and nginx write it.
    Combined,
}

/// Where lines go.
#[derive(Clone)]
pub struct AccessLog {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

/// What is known of a request that has ended.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it began.
    pub at: SystemTime,
    /// Who asked.
    pub client: IpAddr,
    /// How.
    pub method: Method,
    /// What for.
    pub target: String,
    /// In which version of HTTP.
    pub version: Version,
    /// Of which host.
    pub host: String,
    /// The answer.
    pub status: StatusCode,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// How long it took to the last byte.
    pub took: Duration,
    /// Whose answer it is: backend and endpoint; empty: the proxy's own.
    pub backend: String,
    /// The endpoint.
    pub endpoint: String,
    /// How often it was tried again.
    pub retries: u32,
    /// The request's id.
    pub request_id: Option<HeaderValue>,
    /// The Referer header.
    pub referer: Option<HeaderValue>,
    /// The User-Agent header.
    pub agent: Option<HeaderValue>,
    /// Why the proxy answered itself.
    pub reason: String,
}

impl AccessLog {
    /// Writes to the file at `path`, or to standard output for `-`.
    pub fn open(path: &Path, format: Format) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(OpenOptions::new().create(true).append(true).open(path)?)
        };
        let (lines, received) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&received, BufWriter::new(out), format))?;
        Ok(Self { lines, dropped: Arc::default() })
    }

    /// Writes a line, soon.
    pub fn write(&self, line: Line) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines that were dropped because the disk was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// A request whose answer is still on its way.
pub struct Finished {
    log: AccessLog,
    /// What is known already.
    pub line: Line,
    started: Instant,
    written: bool,
}

impl Finished {
    /// A request that has just come.
    pub fn new(log: AccessLog, line: Line, started: Instant) -> Self {
        Self { log, line, started, written: false }
    }

    /// The answer is through, with so many bytes.
    pub fn write(mut self: Box<Self>, bytes: u64) {
        self.line.bytes = bytes;
        self.out();
    }

    fn out(&mut self) {
        self.written = true;
        self.line.took = self.started.elapsed();
        self.log.write(std::mem::replace(&mut self.line, Line::nothing()));
    }
}

impl Drop for Finished {
    /// Whoever asked has left before the answer: nginx has a status for that.
    fn drop(&mut self) {
        if self.written {
            return;
        }
        if self.line.backend.is_empty() {
            self.line.status = StatusCode::from_u16(499).unwrap_or_default();
            "the client has left".clone_into(&mut self.line.reason);
        }
        self.out();
    }
}

impl Line {
    /// Costs nothing.
    fn nothing() -> Self {
        Self {
            at: SystemTime::UNIX_EPOCH,
            client: Ipv4Addr::UNSPECIFIED.into(),
            method: Method::GET,
            target: String::new(),
            version: Version::HTTP_11,
            host: String::new(),
            status: StatusCode::OK,
            bytes: 0,
            took: Duration::ZERO,
            backend: String::new(),
            endpoint: String::new(),
            retries: 0,
            request_id: None,
            referer: None,
            agent: None,
            reason: String::new(),
        }
    }
}

fn write_all(lines: &Receiver<Line>, mut out: impl Write, format: Format) {
    let mut flushed = Instant::now();
    loop {
        // Also while there is always another line: people look at the end of the file.
        if flushed.elapsed() >= FLUSH_EVERY {
            drop(out.flush());
            flushed = Instant::now();
        }
        match lines.recv_timeout(FLUSH_EVERY) {
            Ok(line) => {
                if let Err(error) = out.write_all(render(&line, format).as_bytes()) {
                    tracing::warn!(%error, "cannot write the access log");
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                drop(out.flush());
                return;
            }
        }
    }
}

fn text(value: Option<&HeaderValue>) -> String {
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn render(line: &Line, format: Format) -> String {
    let at = jiff::Timestamp::try_from(line.at).unwrap_or_default();
    let mut out = match format {
        Format::Json => serde_json::json!({
            "time": at.to_string(),
            "client": line.client.to_string(),
            "method": line.method.as_str(),
            "target": line.target,
            "protocol": format!("{:?}", line.version),
            "host": line.host,
            "status": line.status.as_u16(),
            "bytes": line.bytes,
            "took_ms": (line.took.as_secs_f64() * 1e6).round() / 1e3,
            "backend": line.backend,
            "endpoint": line.endpoint,
            "retries": line.retries,
            "request_id": text(line.request_id.as_ref()),
            "referer": text(line.referer.as_ref()),
            "user_agent": text(line.agent.as_ref()),
            "reason": line.reason,
        })
        .to_string(),
        Format::Combined => {
            let quoted = |value: Option<&HeaderValue>| match value {
                None => "-".to_owned(),
                Some(_) => escape(&text(value)),
            };
            let mut out = String::new();
            let _ = write!(
                out,
                "{} - - [{}] \"{} {} {:?}\" {} {} \"{}\" \"{}\"",
                line.client,
                at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
                line.method,
                escape(&line.target),
                line.version,
                line.status.as_u16(),
                line.bytes,
                quoted(line.referer.as_ref()),
                quoted(line.agent.as_ref()),
            );
            out
        }
    };
    out.push('\n');
    out
}

/// No value ends its quotes or its line.
fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|char| match char {
            '"' | '\\' => vec!['\\', char],
            char if char.is_control() => format!("\\x{:02x}", char as u32).chars().collect(),
            char => vec![char],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            at: SystemTime::UNIX_EPOCH,
            client: IpAddr::from([192, 0, 2, 1]),
            method: Method::GET,
            target: "/a\"b".into(),
            version: Version::HTTP_11,
            host: "shop".into(),
            status: StatusCode::OK,
            bytes: 12,
            took: Duration::from_micros(1500),
            backend: "shop/web".into(),
            endpoint: "ab12".into(),
            retries: 0,
            request_id: None,
            referer: None,
            agent: Some(HeaderValue::from_static("curl")),
            reason: String::new(),
        }
    }

    #[test]
    fn a_line_is_what_tools_expect() {
        assert_eq!(
            render(&line(), Format::Combined),
            "192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] \"GET /a\\\"b HTTP/1.1\" 200 12 \"-\" \"curl\"\n"
        );
        let json: serde_json::Value = serde_json::from_str(&render(&line(), Format::Json)).unwrap();
        assert_eq!(json["took_ms"], 1.5);
        assert_eq!(json["endpoint"], "ab12");
    }

    #[test]
    fn lines_reach_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::open(&path, Format::Json).unwrap();
        log.write(line());
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while std::fs::read_to_string(&path).unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "the line did not come");
            std::thread::yield_now();
        }
    }
}
