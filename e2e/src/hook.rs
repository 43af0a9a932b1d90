use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A web server on this machine that writes down what it is sent: a webhook.
pub struct Hook {
    address: SocketAddr,
    notices: Arc<Mutex<Vec<Notice>>>,
    refuse: Arc<AtomicUsize>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Notice {
    /// The path that was asked for.
    pub path: String,
    /// The header lines.
    pub headers: String,
    /// The body; null if it was no JSON.
    pub body: Value,
    /// It was answered with an error.
    pub refused: bool,
}

impl Hook {
    /// Starts it. It ends with the test's process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hook =
            Self { address: listener.local_addr().unwrap(), notices: Arc::default(), refuse: Arc::default() };
        let (notices, refuse) = (Arc::clone(&hook.notices), Arc::clone(&hook.refuse));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (notices, refuse) = (Arc::clone(&notices), Arc::clone(&refuse));
                std::thread::spawn(move || serve(stream, &notices, &refuse));
            }
        });
        hook
    }

    /// Where it is, with a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next requests with an error, as a server does that is being restarted.
    pub fn refuse(&self, requests: usize) {
        self.refuse.store(requests, Ordering::Relaxed);
    }

    /// What it was sent so far, in order.
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap().clone()
    }

    /// What it took of this path: without what it refused.
    pub fn taken(&self, path: &str) -> Vec<Value> {
        let mut all = self.notices();
        all.retain(|notice| notice.path == path && !notice.refused);
        all.into_iter().map(|notice| notice.body).collect()
    }
}

/// Takes request after request, as long as the client keeps the connection.
fn serve(stream: TcpStream, notices: &Mutex<Vec<Notice>>, refuse: &AtomicUsize) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_mins(1))).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut headers) = (String::new(), String::new());
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        while reader.read_line(&mut headers).ok()? > 2 {}
        let body = body(&mut reader, &headers.to_lowercase())?;
        let refused =
            refuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        let notice = Notice {
            path: line.split(' ').nth(1)?.to_owned(),
            headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            refused,
        };
        // Written down before the answer: who has the answer finds it.
        notices.lock().unwrap().push(notice);
        let status = if refused { "503 Service Unavailable" } else { "200 OK" };
        writer.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").as_bytes()).ok()?;
    }
}

/// A body of a known length, or in chunks.
fn body(reader: &mut BufReader<TcpStream>, headers: &str) -> Option<Vec<u8>> {
    let field = |name: &str| headers.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mut body = Vec::new();
    if let Some(length) = field("content-length:") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if field("transfer-encoding:") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let start = body.len();
            // With the line end after it.
            body.resize(start + size + 2, 0);
            reader.read_exact(&mut body[start..]).ok()?;
            body.truncate(start + size);
            if size == 0 {
                break;
            }
        }
    }
    Some(body)
}
