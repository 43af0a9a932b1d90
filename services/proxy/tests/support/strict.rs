//! Reads a request as strictly as it can be read. What this refuses, two servers could read differently:
//! none of it may ever reach an upstream.

/// A request that arrived in full.
#[derive(Debug, Clone)]
pub struct Request {
    /// Exactly its bytes.
    pub raw: Vec<u8>,
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Without chunk sizes.
    pub body: Vec<u8>,
}

impl Request {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<String> {
        let of = self.headers.iter().filter(|(known, _)| known == name);
        of.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The value of a header that is there once.
    pub fn one(&self, name: &str) -> String {
        let mut all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {all:?} in {}", self.raw.escape_ascii());
        all.remove(0)
    }

    /// Whether a header is there.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

/// Where the head in `bytes` ends, if it does.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The request that `bytes` begin with; `None` while it is not complete. The error says what is not clear.
pub fn read(bytes: &[u8]) -> Result<Option<Request>, String> {
    let Some(head) = head_end(bytes) else {
        // A line that ends in another way would never complete a head here: better to say so at once.
        let fine = bytes.iter().zip(bytes.iter().skip(1)).all(|(a, b)| (*a == b'\r') == (*b == b'\n'));
        return if fine { Ok(None) } else { Err("a bare CR or LF".to_owned()) };
    };
    let mut lines = split(&bytes[..head - 4])?.into_iter();
    let (method, target) = request_line(lines.next().unwrap_or_default())?;
    let headers = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    let all = |wanted: &str| -> Vec<&[u8]> {
        headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_slice()).collect()
    };
    if all("host").len() != 1 || all("host")[0].is_empty() {
        return Err(format!("Host is there {} times", all("host").len()));
    }
    for name in ["te", "keep-alive", "proxy-connection", "content_length", "transfer_encoding"] {
        let lawful = all(name).is_empty() || (name == "te" && all(name) == [b"trailers"]);
        if !lawful {
            return Err(format!("{name} was passed on"));
        }
    }
    if all("connection").iter().any(|value| !value.eq_ignore_ascii_case(b"upgrade")) {
        return Err("Connection was passed on".to_owned());
    }
    let rest = &bytes[head..];
    let body = match (all("content-length").as_slice(), all("transfer-encoding").as_slice()) {
        ([], []) => Some((Vec::new(), 0)),
        ([length], []) => {
            let length = plain_number(length)?;
            rest.get(..length).map(|body| (body.to_vec(), length))
        }
        ([], [b"chunked"]) => chunks(rest)?,
        (lengths, codings) => {
            return Err(format!("{} lengths and {} codings", lengths.len(), codings.len()));
        }
    };
    let Some((body, used)) = body else { return Ok(None) };
    Ok(Some(Request { raw: bytes[..head + used].to_vec(), method, target, headers, body }))
}

fn split(head: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut lines = Vec::new();
    for line in head.split(|byte| *byte == b'\n') {
        lines.push(line.strip_suffix(b"\r").unwrap_or(line));
    }
    let ends = lines.len() - 1;
    let pairs = head.windows(2).filter(|pair| *pair == b"\r\n").count();
    let returns = head.split(|byte| *byte == b'\r').count() - 1;
    if ends == pairs && returns == pairs { Ok(lines) } else { Err("a bare CR or LF".to_owned()) }
}

fn is_token(bytes: &[u8]) -> bool {
    let fine = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(fine)
}

fn request_line(line: &[u8]) -> Result<(String, String), String> {
    let shown = || line.escape_ascii().to_string();
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1"] = parts.as_slice() else { return Err(shown()) };
    let graphic = target.iter().all(|byte| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(byte));
    if !is_token(method) || !target.starts_with(b"/") || !graphic {
        return Err(shown());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(method), text(target)))
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), String> {
    let shown = || line.escape_ascii().to_string();
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(shown)?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let fine = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if !is_token(name) || !value.iter().all(fine) {
        return Err(shown());
    }
    Ok((String::from_utf8_lossy(name).to_lowercase(), value.to_vec()))
}

fn plain_number(text: &[u8]) -> Result<usize, String> {
    let shown = || format!("Content-Length {}", text.escape_ascii());
    let plain = text == b"0" || (text.iter().all(u8::is_ascii_digit) && !text.starts_with(b"0"));
    let text = std::str::from_utf8(text).ok().filter(|_| plain);
    text.and_then(|text| text.parse().ok()).ok_or_else(shown)
}

/// A chunked body and its length with all that belongs to it; `None` while it is not complete.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let text = &bytes[at..at + line];
        // An extension would be lawful; nobody needs one, and servers differ about them.
        let hexadecimal = !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(text).ok().filter(|_| hexadecimal);
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| format!("chunk size {}", text.escape_ascii()))?;
        at += line + 2;
        if size == 0 {
            return Ok(trailers(&bytes[at..])?.map(|used| (body, at + used)));
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        let Some(data) = chunk.strip_suffix(b"\r\n") else { return Err("a chunk without an end".to_owned()) };
        body.extend_from_slice(data);
        at += size + 2;
    }
}

fn trailers(bytes: &[u8]) -> Result<Option<usize>, String> {
    if bytes.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    let Some(end) = head_end(bytes) else { return Ok(None) };
    split(&bytes[..end - 4])?.into_iter().try_for_each(|line| field(line).map(drop))?;
    Ok(Some(end))
}
