//! HTTP/2 by hand (RFC 9113, RFC 7541): frames, and headers as literals, so that everything that no
//! library would send can be sent.

use std::io::Read as _;

use super::client::Client;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Headers as literals that are never indexed, without Huffman's code (RFC 7541 section 6.2.2).
pub fn block(headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name.as_bytes(), value] {
            length(&mut bytes, text.len());
            bytes.extend(text);
        }
    }
    bytes
}

/// An integer with a prefix of 7 bits (RFC 7541 section 5.1).
fn length(bytes: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        bytes.push(u8::try_from(value).unwrap());
        return;
    }
    bytes.push(127);
    value -= 127;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128 + 128).unwrap());
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer.
    Status(u16),
    /// `RST_STREAM`, with its code.
    Reset(u32),
    /// GOAWAY, with its code.
    Goaway(u32),
    /// The connection ended.
    Ended,
}

impl Client {
    /// Begins HTTP/2 with prior knowledge.
    pub fn begin_http2(&mut self) {
        self.send(PREFACE);
        self.send(&frame(SETTINGS, 0, 0, &[]));
    }

    /// Sends a request, or what looks like one, on a stream.
    pub fn open(&mut self, stream: u32, headers: &[(&str, &[u8])], body: Option<&[u8]>) {
        let flags = if body.is_none() { END_HEADERS | END_STREAM } else { END_HEADERS };
        self.send(&frame(HEADERS, flags, stream, &block(headers)));
        if let Some(body) = body {
            self.send(&frame(DATA, END_STREAM, stream, body));
        }
    }

    /// Waits for what becomes of `stream`.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Some((kind, flags, of, payload)) = self.frame() else { return Outcome::Ended };
            let code = |at: usize| {
                payload.get(at..at + 4).map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap()))
            };
            match kind {
                HEADERS if of == stream => return Outcome::Status(status(&payload)),
                RST_STREAM if of == stream => return Outcome::Reset(code(0)),
                // Without an error it says only that the connection will end soon.
                GOAWAY if code(4) != 0 => return Outcome::Goaway(code(4)),
                SETTINGS if flags & ACK == 0 => self.send(&frame(SETTINGS, ACK, 0, &[])),
                _ => {}
            }
        }
    }

    fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let size = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; size];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload))
    }
}

/// The status that a block of headers begins with. On a connection's first answer it stands in the static
/// table, or as a literal beside a name of that.
fn status(block: &[u8]) -> u16 {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [indexed @ 0x88..=0x8e, ..] => STATIC[usize::from(indexed - 0x88)],
        [0x08 | 0x18 | 0x48, size, rest @ ..] => {
            let text = &rest[..usize::from(size & 0x7f)];
            let text = if size & 0x80 == 0 { text.to_vec() } else { huffman_digits(text) };
            String::from_utf8(text).unwrap().parse().unwrap()
        }
        _ => panic!("no status in {}", block.escape_ascii()),
    }
}

/// Three digits in Huffman's code: 0 to 2 have five bits, the others six (RFC 7541 appendix B).
fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let mut bits =
        bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)) << (64 - 8 * bytes.len());
    let mut digits = Vec::new();
    while digits.len() < 3 {
        let five = u8::try_from(bits >> 59).unwrap();
        let (digit, used) = match five {
            0..=2 => (five, 5),
            _ => (u8::try_from(bits >> 58).unwrap() - 0b01_1001 + 3, 6),
        };
        digits.push(b'0' + digit);
        bits <<= used;
    }
    digits
}
