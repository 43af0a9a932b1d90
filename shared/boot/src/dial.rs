//! A channel to whichever of several addresses has the scheduler.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gantry_identity::{Role, server_name};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use crate::client::kept;
use crate::credentials::Credentials;
use crate::members::Members;
use crate::problem::chain;

/// An address may take this long to be reached.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who was reached may take this long to show who it is: a host with too much to do takes seconds.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The next address is tried beside the ones before after this time.
const STAGGER: Duration = Duration::from_millis(300);

/// Nobody could be reached, and why not, address by address.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the scheduler: {}", .0.join("; "))]
pub struct Unreachable(Vec<String>);

/// A channel to the scheduler, which is dialled when it is first used, and again whenever the connection is
/// lost: at every address that `members` knows, with the certificate that `own` is at that time.
pub fn dial(members: &Members, own: &Credentials) -> Channel {
    let endpoint = Endpoint::from(Uri::from_static("http://scheduler.gantry"));
    kept(endpoint).connect_with_connector_lazy(Connector { members: members.clone(), own: own.clone() })
}

#[derive(Clone)]
struct Connector {
    members: Members,
    own: Credentials,
}

type Connecting = Pin<Box<dyn Future<Output = Result<TokioIo<TlsStream<TcpStream>>, Unreachable>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = Unreachable;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Connecting {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}

impl Connector {
    async fn connect(&self) -> Result<TlsStream<TcpStream>, Unreachable> {
        let mut left = self.members.addresses().into_iter();
        let mut attempts = JoinSet::new();
        let mut problems = Vec::new();
        let mut exhausted = false;
        loop {
            match left.next() {
                Some(address) => drop(attempts.spawn(one(self.own.clone(), address))),
                None => exhausted = true,
            }
            let ended = tokio::select! {
                ended = attempts.join_next() => ended,
                () = sleep(STAGGER), if !exhausted => continue,
            };
            match ended {
                Some(Ok(Ok((address, stream)))) => {
                    self.members.worked(&address);
                    return Ok(stream);
                }
                Some(Ok(Err(problem))) => problems.push(problem),
                Some(Err(crashed)) => problems.push(crashed.to_string()),
                None if exhausted => {
                    if problems.is_empty() {
                        problems.push("no address is known".to_owned());
                    }
                    return Err(Unreachable(problems));
                }
                None => {}
            }
        }
    }
}

async fn one(own: Credentials, address: String) -> Result<(String, TlsStream<TcpStream>), String> {
    match encrypted(&own, &address).await {
        Ok(stream) => Ok((address, stream)),
        Err(problem) => Err(format!("{address}: {problem}")),
    }
}

async fn encrypted(own: &Credentials, address: &str) -> Result<TlsStream<TcpStream>, String> {
    let config = own.client().map_err(|error| error.to_string())?;
    let name = ServerName::try_from(server_name(Role::Scheduler, "")).map_err(|error| error.to_string())?;
    let stream = within(PATIENCE, TcpStream::connect(address)).await?;
    let _ = stream.set_nodelay(true);
    within(HANDSHAKE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

async fn within<T>(time: Duration, doing: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(time, doing).await {
        Ok(done) => done.map_err(|error| chain(&error)),
        Err(_) => Err(format!("no answer within {} s", time.as_secs())),
    }
}
