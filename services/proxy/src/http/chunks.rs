//! Follows the framing of a chunked body (RFC 9112 section 7.1), strictly: a size in hexadecimal digits,
//! an extension without control characters, and `\r\n` wherever a line ends.

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    left: u64,
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataEnd2,
    Trailer,
    TrailerEnd,
    Done,
}

/// The longest size line, and the most bytes that trailers may have.
const MAX_SIZE_LINE: usize = 256;
const MAX_TRAILERS: usize = 8192;

/// The bytes are not a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotChunked;

impl Chunks {
    /// At the first size.
    pub fn new() -> Self {
        Self { state: State::Size, left: 0, line: 0 }
    }

    /// Whether the body is over.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Follows `bytes` up to the end of the body, and answers how many of them belong to it.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, NotChunked> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= here as u64;
                at += here;
                if self.left == 0 {
                    self.state = State::DataEnd;
                }
                continue;
            }
            self.state = self.next(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn next(&mut self, byte: u8) -> Result<State, NotChunked> {
        self.line += 1;
        Ok(match (self.state, byte) {
            (State::Size, _) if self.line > 17 => return Err(NotChunked),
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.line <= 16 => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                self.left = self.left << 4 | digit;
                State::Size
            }
            (State::Size, b'\r') if self.line > 1 => State::SizeEnd,
            (State::Size, b';') if self.line > 1 => State::Extension,
            (State::Extension, b'\r') => State::SizeEnd,
            (State::Extension, b'\t' | b' '..=0x7e | 0x80..) if self.line <= MAX_SIZE_LINE => {
                State::Extension
            }
            (State::SizeEnd, b'\n') => {
                self.line = 0;
                if self.left == 0 { State::Trailer } else { State::Data }
            }
            (State::DataEnd, b'\r') => State::DataEnd2,
            (State::DataEnd2, b'\n') => {
                self.line = 0;
                State::Size
            }
            // `left` counts the bytes of the trailers here, and `line` those of one line.
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::Trailer, b'\t' | b' '..=0x7e | 0x80..) if self.left < MAX_TRAILERS as u64 => {
                // No folded lines: a line does not begin with a space.
                if self.line == 1 && matches!(byte, b' ' | b'\t') {
                    return Err(NotChunked);
                }
                self.left += 1;
                State::Trailer
            }
            (State::TrailerEnd, b'\n') if self.line == 2 => State::Done,
            (State::TrailerEnd, b'\n') => {
                self.line = 0;
                State::Trailer
            }
            _ => return Err(NotChunked),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Result<Option<usize>, NotChunked> {
        let mut at_once = Chunks::new();
        let used = at_once.advance(text.as_bytes());
        let mut slowly = Chunks::new();
        let mut count = 0;
        for byte in text.bytes() {
            match slowly.advance(&[byte]) {
                Ok(one) => count += one,
                Err(bad) => {
                    assert_eq!(used, Err(bad), "{text:?}");
                    return Err(bad);
                }
            }
        }
        assert_eq!(used, Ok(count), "{text:?}");
        Ok(at_once.is_done().then_some(count))
    }

    #[test]
    fn a_body_ends_where_it_says() {
        assert_eq!(end("5\r\nhello\r\n0\r\n\r\nGET"), Ok(Some(15)));
        assert_eq!(end("A;x=\"y z\"\r\n0123456789\r\n000\r\nx: y\r\nz: a\r\n\r\n"), Ok(Some(42)));
        assert_eq!(end("5\r\nhel"), Ok(None));
    }

    #[test]
    fn nothing_else_is_a_chunk() {
        for bad in [
            "\r\n",
            "-1\r\n",
            "0x5\r\nhello",
            "5 \r\nhello",
            " 5\r\n",
            "5\nhello\n",
            "5\rhello",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "fffffffffffffffff\r\n",
            "5;\x01\r\n",
            "0\r\n x: y\r\n\r\n",
            "0\r\n\n",
            "0\n\n",
            "g\r\n",
            "0\r\nx\x00: y\r\n",
        ] {
            assert_eq!(end(bad), Err(NotChunked), "{bad:?}");
        }
        let long = format!("5;{}\r\n", "x".repeat(300));
        assert_eq!(end(&long), Err(NotChunked));
    }
}
