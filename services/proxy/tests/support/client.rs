//! A client that sends bytes and reads answers.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::DEADLINE;
use super::strict::head_end;

/// Names in lower case, and values.
type Headers = Vec<(String, String)>;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Headers,
    /// As it came: chunk sizes are in it.
    pub body: Vec<u8>,
    /// The body has the length that was announced.
    pub complete: bool,
}

impl Reply {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a header; empty if there is none.
    pub fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert!(all.len() < 2, "{name}: {all:?}");
        all.first().copied().unwrap_or_default()
    }

    /// The body without chunk sizes.
    pub fn bytes(&self) -> Vec<u8> {
        if self.all("transfer-encoding").is_empty() {
            return self.body.clone();
        }
        let (mut rest, mut bytes) = (self.body.as_slice(), Vec::new());
        while let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            bytes.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest = &rest[line + 2 + size + 2..];
        }
        bytes
    }

    /// The same as text.
    pub fn content(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client's connection.
pub struct Client {
    pub stream: TcpStream,
    bytes: Vec<u8>,
    ended: bool,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// On a connection that is there.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream, bytes: Vec::new(), ended: false }
    }

    /// Sends bytes. A proxy that has closed already is not the client's problem: what it answered shows.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Asks, and waits for the answer.
    pub fn get(&mut self, path: &str, fields: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        self.reply().expect("an answer")
    }

    /// What the first chunk of a body holds, of an answer that need not end.
    pub fn first_chunk(&mut self) -> Vec<u8> {
        let (head, _, _) = self.head().expect("an answer");
        self.bytes.drain(..head);
        loop {
            if let Some(line) = self.bytes.windows(2).position(|pair| pair == b"\r\n") {
                let size = std::str::from_utf8(&self.bytes[..line]).unwrap();
                let (from, to) = (line + 2, line + 2 + usize::from_str_radix(size, 16).unwrap());
                if self.bytes.len() >= to {
                    return self.bytes[from..to].to_vec();
                }
            }
            assert!(self.more(), "a chunk is missing");
        }
    }

    /// Reads the next answer; `None` if the connection ends before one.
    pub fn reply(&mut self) -> Option<Reply> {
        self.read_reply(false)
    }

    /// The same to HEAD, which has no body whatever it announces.
    pub fn reply_to_head(&mut self) -> Option<Reply> {
        self.read_reply(true)
    }

    /// The one answer before the connection ends, and what came after it.
    pub fn only_reply(&mut self) -> (Option<Reply>, Vec<u8>) {
        let reply = self.reply();
        (reply, self.rest())
    }

    /// Everything until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.bytes)
    }

    /// Waits for `100 Continue`.
    pub fn interim(&mut self) -> bool {
        let Some((head, status, _)) = self.head() else { return false };
        self.bytes.drain(..head);
        status == 100
    }

    fn read_reply(&mut self, to_head: bool) -> Option<Reply> {
        loop {
            let (head, status, headers) = self.head()?;
            // 100 and 103 come before an answer; 101 is one.
            if (100..200).contains(&status) && status != 101 {
                self.bytes.drain(..head);
                continue;
            }
            let mut reply = Reply { status, headers, body: Vec::new(), complete: true };
            self.bytes.drain(..head);
            let empty = to_head || status == 101 || status == 204 || status == 304;
            let length = reply.all("content-length").first().and_then(|length| length.parse().ok());
            let end = loop {
                let end = match (empty, length) {
                    (true, _) => Some(0),
                    (false, Some(length)) => (self.bytes.len() >= length).then_some(length),
                    (false, None) if reply.all("transfer-encoding").is_empty() => None,
                    (false, None) => chunks_end(&self.bytes),
                };
                if end.is_some() || !self.more() {
                    break end;
                }
            };
            let framed = empty || length.is_some() || !reply.all("transfer-encoding").is_empty();
            reply.complete = end.is_some() || !framed;
            reply.body = self.bytes.drain(..end.unwrap_or(self.bytes.len())).collect();
            return Some(reply);
        }
    }

    /// Where the next head ends, its status and its headers.
    fn head(&mut self) -> Option<(usize, u16, Headers)> {
        let end = loop {
            match head_end(&self.bytes) {
                Some(end) => break end,
                None if self.more() => {}
                None => return None,
            }
        };
        let text = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Some((end, status, headers.collect()))
    }

    /// Reads more; `false` at the end of the connection. A reset is one, too.
    pub fn more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let mut part = [0; 16 << 10];
        match self.stream.read(&mut part) {
            Ok(0) => self.ended = true,
            Ok(count) => self.bytes.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("neither an answer nor an end in time; so far: {}", self.bytes.escape_ascii());
            }
            Err(_) => self.ended = true,
        }
        !self.ended
    }
}

/// Where a chunked body ends; trailers are not expected here.
fn chunks_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = at + bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..line]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        at = line + 2 + size + 2;
        if at > bytes.len() {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}
