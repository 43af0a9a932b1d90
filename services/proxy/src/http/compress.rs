//! Makes responses smaller for clients that ask for it: zstd, brotli or gzip, as the client prefers.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body, Frame};

use super::body::Download;

/// Bodies smaller than this are not worth it.
const MIN: u64 = 256;
const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;
const BROTLI_WINDOW: u32 = 19;
const ZSTD_LEVEL: i32 = 3;

/// Types that are text, though their names do not say so.
const TEXTS: [&str; 5] = [
    "application/json",
    "application/javascript",
    "application/xml",
    "application/wasm",
    "application/manifest+json",
];

/// A way to make a body smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The best one that a client takes; ties go to the one that costs less for what it saves.
    pub fn accepted(headers: &HeaderMap) -> Option<Self> {
        let mut best: Option<(u16, Self)> = None;
        for value in headers.get_all(header::ACCEPT_ENCODING) {
            for item in value.to_str().ok()?.split(',') {
                let mut parts = item.split(';').map(str::trim);
                let coding = match parts.next()?.to_ascii_lowercase().as_str() {
                    "zstd" => Self::Zstd,
                    "br" => Self::Brotli,
                    "gzip" | "x-gzip" => Self::Gzip,
                    _ => continue,
                };
                let quality = parts
                    .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                    .map_or(1000, thousandths);
                let rank = |coding: Self| match coding {
                    Self::Zstd => 2,
                    Self::Brotli => 1,
                    Self::Gzip => 0,
                };
                let better = best.is_none_or(|(known, other)| (quality, rank(coding)) > (known, rank(other)));
                if quality > 0 && better {
                    best = Some((quality, coding));
                }
            }
        }
        best.map(|(_, coding)| coding)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Between 0 and 1000.
fn thousandths(quality: &str) -> u16 {
    quality.parse::<f32>().map_or(0, |quality| (quality.clamp(0.0, 1.0) * 1000.0) as u16)
}

/// Whether a response gains by it: text of some size that is whole and not made smaller already.
pub fn is_worth_it(method: &Method, status: StatusCode, headers: &HeaderMap, size: Option<u64>) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let begins =
            |with: &str| kind.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        let ends = |with: &str| {
            let from = kind.len().checked_sub(with.len());
            from.and_then(|from| kind.get(from..)).is_some_and(|end| end.eq_ignore_ascii_case(with))
        };
        begins("text/") && !kind.eq_ignore_ascii_case("text/event-stream")
            || ends("+json")
            || ends("+xml")
            || TEXTS.iter().any(|text| kind.eq_ignore_ascii_case(text))
    });
    let fixed = headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        let mut directives = value.as_bytes().split(|byte| *byte == b',');
        directives.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    });
    text && !fixed
        && method != Method::HEAD
        && status != StatusCode::PARTIAL_CONTENT
        && !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
        && !headers.contains_key(header::CONTENT_ENCODING)
        && size.is_none_or(|size| size >= MIN)
}

/// Tells caches that the answer depends on what the client takes; also of one that is not compressed.
pub fn vary(headers: &mut HeaderMap) {
    let known = headers.get_all(header::VARY).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    });
    if !known {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Says in the headers what is done to the body: its length is not known any more, and its tag is weak.
pub fn announce(headers: &mut HeaderMap, coding: Coding) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    if let Some(tag) = headers.get(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
}

enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                4096,
                BROTLI_LEVEL,
                BROTLI_WINDOW,
            ))),
            Coding::Gzip => {
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
        })
    }

    /// Takes a piece, and gives all that it makes of what came so far: nothing waits for the next piece.
    fn piece(&mut self, data: &[u8]) -> io::Result<Bytes> {
        let out = match self {
            Self::Zstd(encoder) => {
                encoder.write_all(data)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Brotli(encoder) => {
                encoder.write_all(data)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Self::Gzip(encoder) => {
                encoder.write_all(data)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(out).into())
    }

    fn end(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Gzip(encoder) => encoder.finish()?,
        }
        .into())
    }
}

/// An endpoint's answer, made smaller.
pub struct Compressed {
    body: Download,
    encoder: Option<Encoder>,
    /// What comes after the last piece.
    trailers: Option<HeaderMap>,
}

impl Compressed {
    /// `body` in `coding`.
    pub fn new(body: Download, coding: Coding) -> io::Result<Self> {
        Ok(Self { body, encoder: Some(Encoder::new(coding)?), trailers: None })
    }
}

impl Body for Compressed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        loop {
            let Some(encoder) = &mut this.encoder else {
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let smaller = encoder.piece(&data)?;
                        if !smaller.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(smaller))));
                        }
                    }
                    Err(frame) => this.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let last = this.encoder.take().map(Encoder::end).transpose()?.unwrap_or_default();
                    if !last.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(last))));
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_likes_best() {
        let accepted = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, text.parse().unwrap());
            Coding::accepted(&headers)
        };
        assert_eq!(accepted("gzip, deflate, br, zstd"), Some(Coding::Zstd));
        assert_eq!(accepted("gzip, br"), Some(Coding::Brotli));
        assert_eq!(accepted("br;q=0.5, gzip;q=0.8"), Some(Coding::Gzip));
        assert_eq!(accepted("gzip;q=0"), None);
        assert_eq!(accepted("identity"), None);
    }

    #[test]
    fn what_every_coding_makes_can_be_read_again() {
        use std::io::Read as _;
        let text = "Gantry ".repeat(200);
        for coding in [Coding::Zstd, Coding::Brotli, Coding::Gzip] {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut all = encoder.piece(&text.as_bytes()[..700]).unwrap().to_vec();
            all.extend(encoder.piece(&text.as_bytes()[700..]).unwrap());
            all.extend(encoder.end().unwrap());
            assert!(all.len() < text.len() / 2, "{coding:?}");
            let mut back = String::new();
            let read = match coding {
                Coding::Zstd => zstd::stream::read::Decoder::new(&all[..]).unwrap().read_to_string(&mut back),
                Coding::Brotli => brotli::Decompressor::new(&all[..], 4096).read_to_string(&mut back),
                Coding::Gzip => flate2::read::GzDecoder::new(&all[..]).read_to_string(&mut back),
            };
            assert_eq!(read.unwrap(), text.len());
            assert_eq!(back, text, "{coding:?}");
        }
    }
}
