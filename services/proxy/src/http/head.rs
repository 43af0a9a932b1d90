//! One request head, line by line, as the bytes arrive.

use http::StatusCode;

use super::rules::{self, Refusal};

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// In bytes.
    pub bytes: usize,
    /// In fields.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 32 << 10, fields: 100 }
    }
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The next head.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What is known of a head so far.
#[derive(Debug, Default)]
pub struct Head {
    /// Bytes that were looked at: whole lines.
    pub seen: usize,
    fields: usize,
    old: bool,
    started: bool,
    method_len: usize,
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    /// A field was there that is meant for the next hop only.
    pub hop: bool,
}

/// Where a head stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// It is complete: `seen` bytes, and then this.
    Complete(Framing),
}

impl Head {
    /// Looks at the lines of `bytes` that were not looked at yet.
    pub fn advance(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Progress, Refusal> {
        while let Some(length) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let line = &bytes[self.seen..self.seen + length];
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(Refusal::bad("a line without a carriage return"));
            };
            self.seen += length + 1;
            if self.seen > limits.bytes {
                return Err(too_large(self.started));
            }
            if !self.started {
                self.request_line(line)?;
            } else if line.is_empty() {
                return self.finish().map(Progress::Complete);
            } else {
                self.field(line, limits)?;
            }
        }
        if bytes.len() > limits.bytes || (!self.started && bytes.len() > rules::MAX_TARGET + 100) {
            return Err(too_large(self.started));
        }
        Ok(Progress::Partial)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        const BAD: Refusal = Refusal::bad("not a request line");
        self.started = true;
        let first = memchr::memchr(b' ', line).ok_or(BAD)?;
        let last = memchr::memrchr(b' ', line).ok_or(BAD)?;
        if last == first {
            return Err(BAD);
        }
        let (method, target, version) = (&line[..first], &line[first + 1..last], &line[last + 1..]);
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.old = true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Refusal::new(
                    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                    "this version of HTTP is not known",
                ));
            }
            _ => return Err(BAD),
        }
        self.method_len = first;
        rules::method(method)?;
        rules::target(method, target)
    }

    fn field(&mut self, line: &[u8], limits: HeadLimits) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > limits.fields {
            return Err(too_large(true));
        }
        let colon = memchr::memchr(b':', line).ok_or(Refusal::bad("a header without a colon"))?;
        let name = &line[..colon];
        if !rules::is_token(name) {
            return Err(Refusal::bad("not a header's name"));
        }
        let raw = &line[colon + 1..];
        rules::value(raw)?;
        // Only a few names matter; their lengths tell them from nearly all others.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts = self.hosts.saturating_add(1);
                rules::host(raw.trim_ascii())
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.hop = true;
                rules::expect(raw.trim_ascii())
            }
            2 | 7 | 10 | 16 if rules::is_hop_by_hop(name) => {
                self.hop = true;
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.replace(rules::length(raw.trim_ascii())?).is_some() {
                    return Err(Refusal::bad("two Content-Lengths"));
                }
                Ok(())
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                rules::transfer_encoding(raw.trim_ascii())?;
                self.hop = true;
                if std::mem::replace(&mut self.chunked, true) {
                    return Err(Refusal::bad("two Transfer-Encodings"));
                }
                Ok(())
            }
            14 | 17 if rules::looks_like_framing(name) => {
                Err(Refusal::bad("a header that looks like another"))
            }
            _ => Ok(()),
        }
    }

    fn finish(&self) -> Result<Framing, Refusal> {
        if self.hosts > 1 || (self.hosts == 0 && !self.old) {
            return Err(Refusal::bad("exactly one Host is needed"));
        }
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refusal::bad("Content-Length with Transfer-Encoding")),
            (true, None) if self.old => Err(Refusal::bad("Transfer-Encoding in HTTP/1.0")),
            (true, None) => Ok(Framing::Chunked),
            (false, None | Some(0)) => Ok(Framing::Nothing),
            (false, Some(length)) => Ok(Framing::Length(length)),
        }
    }
}

fn too_large(started: bool) -> Refusal {
    if started {
        Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large")
    } else {
        Refusal::new(StatusCode::URI_TOO_LONG, "the request line is too long")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Progress, Refusal> {
        let mut head = Head::default();
        // Byte by byte and all at once must be the same.
        let mut slowly = Head::default();
        let mut last = Ok(Progress::Partial);
        for end in 0..=text.len() {
            last = slowly.advance(&text.as_bytes()[..end], HeadLimits::default());
            if last != Ok(Progress::Partial) {
                break;
            }
        }
        let status = |outcome: Result<Progress, Refusal>| outcome.map_err(|refusal| refusal.status);
        assert_eq!(status(last), status(head.advance(text.as_bytes(), HeadLimits::default())));
        Head::default().advance(text.as_bytes(), HeadLimits::default())
    }

    #[test]
    fn what_follows_a_head_is_never_in_doubt() {
        let with = |fields: &str| read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(with(""), Ok(Progress::Complete(Framing::Nothing)));
        assert_eq!(with("Content-Length:5 \r\n"), Ok(Progress::Complete(Framing::Length(5))));
        assert_eq!(with("transfer-encoding: Chunked\r\n"), Ok(Progress::Complete(Framing::Chunked)));
        for bad in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: foo, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Content-Length: 05\r\n",
            "Content_Length: 5\r\n",
            "Host: a\r\n",
            "X : a\r\n",
            "X: a\rb\r\n",
            "X: a\r\n b\r\n",
            ": a\r\n",
            "X\r\n",
            "X: \0\r\n",
        ] {
            assert_eq!(with(bad).unwrap_err().status, StatusCode::BAD_REQUEST, "{bad:?}");
        }
        assert!(read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_line_has_three_parts() {
        for bad in [
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "\r\n",
        ] {
            assert_eq!(read(bad).unwrap_err().status, StatusCode::BAD_REQUEST, "{bad:?}");
        }
        assert_eq!(
            read("GET / HTTP/2.0\r\n\r\n").unwrap_err().status,
            StatusCode::HTTP_VERSION_NOT_SUPPORTED
        );
        assert!(read("GET / HTTP/1.1\nHost: a\n\n").is_err());
        assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), Ok(Progress::Complete(Framing::Nothing)));
    }

    #[test]
    fn a_head_has_an_end() {
        let many: Vec<String> = (0..101).map(|n| format!("x{n}: y\r\n")).collect();
        let many = many.concat();
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
        assert_eq!(read(&text).unwrap_err().status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000));
        assert_eq!(read(&long).unwrap_err().status, StatusCode::URI_TOO_LONG);
        let mut head = Head::default();
        let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(40_000));
        let refused = head.advance(endless.as_bytes(), HeadLimits::default()).unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
}
