//! A request. Redirects are answers like any other, and the connection is closed after it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};

use bytes::BytesMut;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::connect;

/// What of an answer is looked at.
const MAX_BODY: usize = 64 << 10;
/// The largest head of an answer.
const MAX_HEAD: usize = 64 << 10;

/// Passes when the answer has one of those status codes, and that text in the first part of its body.
pub async fn get(
    address: SocketAddr,
    path: &str,
    headers: &BTreeMap<String, String>,
    status: (u16, u16),
    text: &str,
) -> Result<(), String> {
    let request = request(address, path, headers)?;
    exchange(address, request, |response| judge(response, status, text)).await
}

/// The body of an answer with status 200, which must be text of at most `most` bytes.
pub async fn read(address: IpAddr, port: u16, path: &str, most: usize) -> Result<String, String> {
    let address = SocketAddr::new(address, port);
    let accept = [("Accept".to_owned(), "text/plain;version=0.0.4".to_owned())].into();
    let request = request(address, path, &accept)?;
    exchange(address, request, |response| whole(response, most)).await
}

/// Asks on a connection of its own, which ends when the answer was looked at.
async fn exchange<T, F: Future<Output = Result<T, String>>>(
    address: SocketAddr,
    request: Request<String>,
    look: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, String> {
    let stream = connect(address).await?;
    let client = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = client.map_err(|error| words(&error))?;
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| words(&error))?;
        look(response).await
    });
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        seen = &mut exchange => seen,
        // It may be done with the answer before that was looked at.
        _ = &mut connection => exchange.await,
    }
}

fn request(
    address: SocketAddr,
    path: &str,
    headers: &BTreeMap<String, String>,
) -> Result<Request<String>, String> {
    let mut request = Request::get(path).header(CONNECTION, "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let has = |name| request.headers_ref().is_some_and(|headers| headers.contains_key(name));
    let (host, agent) = (has(HOST), has(USER_AGENT));
    if !host {
        request = request.header(HOST, address.to_string());
    }
    if !agent {
        request = request.header(USER_AGENT, concat!("gantry-probe/", env!("CARGO_PKG_VERSION")));
    }
    request.body(String::new()).map_err(|error| error.to_string())
}

async fn judge(response: Response<Incoming>, status: (u16, u16), text: &str) -> Result<(), String> {
    let code = response.status().as_u16();
    if !(status.0..=status.1).contains(&code) {
        let wanted =
            if status.0 == status.1 { status.0.to_string() } else { format!("{}-{}", status.0, status.1) };
        return Err(format!("answered {code}, and {wanted} was expected"));
    }
    if text.is_empty() || contains(response.into_body(), text.as_bytes()).await? {
        return Ok(());
    }
    Err(format!("answered {code} without the text that was expected"))
}

async fn whole(response: Response<Incoming>, most: usize) -> Result<String, String> {
    let code = response.status().as_u16();
    if code != 200 {
        return Err(format!("answered {code}, and 200 was expected"));
    }
    let (mut body, mut read) = (response.into_body(), Vec::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|error| words(&error))?.into_data() else { continue };
        if read.len() + data.len() > most {
            return Err(format!("answered with more than {most} bytes"));
        }
        read.extend_from_slice(&data);
    }
    String::from_utf8(read).map_err(|_| "what it answered is no text".to_owned())
}

/// Reads no further than it must.
async fn contains(mut body: Incoming, text: &[u8]) -> Result<bool, String> {
    let mut read = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|error| words(&error))?.into_data() else { continue };
        // The text may have begun in what came before.
        let from = read.len().saturating_sub(text.len());
        read.extend_from_slice(&data[..data.len().min(MAX_BODY - read.len())]);
        if read[from..].windows(text.len()).any(|window| window == text) {
            return Ok(true);
        }
        if read.len() == MAX_BODY {
            return Ok(false);
        }
    }
    Ok(false)
}

fn words(error: &hyper::Error) -> String {
    if error.is_parse() || error.is_parse_too_large() {
        return "what it answered is not HTTP/1".to_owned();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "it closed the connection without an answer".to_owned();
    }
    gantry_boot::chain(error)
}
