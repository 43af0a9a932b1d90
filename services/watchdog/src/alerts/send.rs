//! One notice to one receiver: HTTP/1.1, with TLS where its URL asks for it, and tried again for a while.
//!
//! Redirects are not followed: a receiver's headers are for that receiver. What goes wrong is said without
//! the URL's path and without headers, which may be passwords, also where the answer repeats them. Of an
//! answer that says yes nothing is read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use gantry_boot::{Backoff, VERSION, chain};
use gantry_model::alert::{Receiver, ReceiverKind};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::hide::Secrets;

/// How often, and how long, a notice is tried.
#[derive(Debug, Clone, Copy)]
pub struct Tries {
    /// So often at most.
    pub most: u32,
    /// One try may take this long.
    pub patience: Duration,
    /// The pause after the first try; it doubles.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
}

impl Tries {
    /// Notices of alerts: all tries end within 3 minutes. What was in vain is tried again later.
    pub const ALERT: Self = Self {
        most: 5,
        patience: Duration::from_secs(10),
        first_pause: Duration::from_secs(4),
        longest_pause: Duration::from_mins(1),
    };
    /// Test notices: a person waits.
    pub const TEST: Self = Self { most: 1, ..Self::ALERT };
}

/// Characters of a refusal that are kept.
const SHOWN: usize = 120;
/// Bytes of a refusal that are read.
const READ: usize = 4 << 10;

/// Why a receiver did not take a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For people.
    pub text: String,
    /// It would say the same again.
    pub lasting: bool,
}

impl Fault {
    fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), lasting: false }
    }

    fn lasting(text: impl Into<String>) -> Self {
        Self { text: text.into(), lasting: true }
    }
}

/// Sends `body`. How often it was tried, and why it was given up.
pub async fn deliver(receiver: &Receiver, body: &str, tries: Tries) -> (u32, Option<Fault>) {
    let mut backoff = Backoff::new(tries.first_pause, tries.longest_pause);
    let mut attempt = 1;
    loop {
        let sending = timeout(tries.patience, post(receiver, body)).await;
        let ended = sending.unwrap_or_else(|_| {
            Err(Fault::passing(format!("no answer within {} ms", tries.patience.as_millis())))
        });
        match ended {
            Ok(()) => return (attempt, None),
            Err(fault) if fault.lasting || attempt >= tries.most => return (attempt, Some(fault)),
            Err(fault) => {
                tracing::info!(
                    receiver = receiver.name,
                    attempt,
                    reason = fault.text,
                    "a notice was not taken"
                );
            }
        }
        sleep(backoff.pause()).await;
        attempt += 1;
    }
}

async fn post(receiver: &Receiver, body: &str) -> Result<(), Fault> {
    let bad = || Fault::lasting("its url cannot be used");
    let uri: Uri = receiver.url.0.parse().map_err(|_| bad())?;
    let host = uri.host().ok_or_else(bad)?;
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let request = request(receiver, &uri, body)?;
    let config = if secure { Some(tls(&receiver.ca).map_err(Fault::lasting)?) } else { None };
    let stream = TcpStream::connect((name, port))
        .await
        .map_err(|error| Fault::passing(format!("cannot connect: {}", chain(&error))))?;
    let response = match config {
        Some(config) => {
            let name = ServerName::try_from(name.to_owned()).map_err(|_| bad())?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
            let refused =
                |error: io::Error| Fault::passing(format!("cannot agree on TLS: {}", chain(&error)));
            exchange(stream.map_err(refused)?, request).await?
        }
        None => exchange(stream, request).await?,
    };
    judge(response, &Secrets::of(receiver)).await
}

/// TLS that believes the receiver's CA, or without one those that everybody does.
fn tls(ca: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if ca.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("its ca cannot be read: {error}"))?;
            roots.add(certificate).map_err(|error| format!("its ca cannot be used: {}", chain(&error)))?;
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn request(receiver: &Receiver, uri: &Uri, body: &str) -> Result<Request<String>, Fault> {
    let bad = |what: &str| Fault::lasting(format!("its {what} cannot be used"));
    let target = target(receiver.kind, uri);
    let mut request =
        Request::builder().method(Method::POST).uri(target).body(body.to_owned()).map_err(|_| bad("url"))?;
    let headers = request.headers_mut();
    let host = uri.authority().map_or("", |authority| authority.as_str());
    headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| bad("url"))?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(agent) = HeaderValue::from_str(&format!("gantry-watchdog/{VERSION}")) {
        headers.insert(USER_AGENT, agent);
    }
    for (name, value) in &receiver.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("headers"))?;
        let mut value = HeaderValue::from_str(&value.0).map_err(|_| bad("headers"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(request)
}

/// The path to ask for. Of an Alertmanager people give the address, or the whole path.
fn target(kind: ReceiverKind, uri: &Uri) -> String {
    let given = uri.path_and_query().map_or("/", |target| target.as_str());
    match kind {
        ReceiverKind::Alertmanager if !uri.path().ends_with("/api/v2/alerts") => {
            format!("{}/api/v2/alerts", uri.path().trim_end_matches('/'))
        }
        _ => given.to_owned(),
    }
}

async fn exchange<S>(stream: S, request: Request<String>) -> Result<Response<Incoming>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Fault::passing(format!("the connection broke: {}", chain(&error)));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the answer's body, or when the sender is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

async fn judge(response: Response<Incoming>, secrets: &Secrets) -> Result<(), Fault> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    if let Some(place) = response.headers().get(hyper::header::LOCATION).filter(|_| status.is_redirection()) {
        let host = place.to_str().ok().and_then(|place| gantry_model::alert::host_of(place).ok());
        let place = host.map(|host| format!(" to {}", secrets.hide(&host))).unwrap_or_default();
        return Err(Fault::lasting(format!("answered {status}{place}: redirects are not followed")));
    }
    let said = words(response.into_body(), secrets).await;
    let text =
        if said.is_empty() { format!("answered {status}") } else { format!("answered {status}: {said}") };
    let passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    Err(Fault { text, lasting: !passing })
}

/// The start of an answer, as one line without secrets.
async fn words(mut body: Incoming, secrets: &Secrets) -> String {
    let mut bytes = Vec::new();
    let mut is_cut = true;
    while bytes.len() < READ {
        match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            Some(Ok(frame)) => bytes.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => break,
            None => {
                is_cut = false;
                break;
            }
        }
    }
    if is_cut {
        // Its end may be half of a secret, which nobody would recognise.
        bytes.truncate(bytes.len().saturating_sub(secrets.longest()));
    }
    let text = String::from_utf8_lossy(&bytes);
    let text: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let line: String = text.chars().filter(|c| !c.is_control()).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    secrets.hide(&line).chars().take(SHOWN).collect()
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
