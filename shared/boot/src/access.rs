//! Checks on every RPC that the caller's role may make it.

use std::task::{Context, Poll};

use gantry_identity::{Identity, Role, is_open, may_call, roles_for};
use gantry_model::ClusterId;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Request, Status};
use tower::{Layer, Service};

use crate::deny::DenyList;

/// A layer that answers callers who may not, and tells handlers who called.
#[derive(Debug, Clone)]
pub struct Access {
    cluster: ClusterId,
    deny: DenyList,
}

impl Access {
    /// Lets members of `cluster` in, each as far as its role goes, but those on the list.
    pub fn new(cluster: ClusterId, deny: DenyList) -> Self {
        Self { cluster, deny }
    }

    /// Who calls; `None` is somebody without a certificate, who may call this.
    fn admit(&self, extensions: &http::Extensions, path: &str) -> Result<Option<Identity>, Status> {
        let certificates =
            extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        let Some(leaf) = certificates.as_ref().and_then(|certificates| certificates.first()) else {
            if is_open(path) {
                return Ok(None);
            }
            return Err(Status::unauthenticated("this call needs a client certificate of the cluster"));
        };
        let identity =
            Identity::of_certificate(leaf).map_err(|error| Status::unauthenticated(error.to_string()))?;
        if identity.cluster != self.cluster {
            return Err(Status::unauthenticated(format!(
                "this is cluster {}, the certificate is of cluster {}",
                self.cluster, identity.cluster
            )));
        }
        if self.deny.contains(&identity.holder()) {
            return Err(Status::unauthenticated(format!(
                "the certificate of {} {} was revoked: it is no member of this cluster any more",
                identity.role, identity.name
            )));
        }
        if !may_call(identity.role, path) {
            return Err(Status::permission_denied(refusal(identity.role, path)));
        }
        Ok(Some(identity))
    }
}

fn refusal(role: Role, path: &str) -> String {
    if is_open(path) {
        return format!("{path} is for those who are no members yet: call it without a certificate");
    }
    let roles = roles_for(path);
    if roles.is_empty() {
        return format!("there is no {path} here");
    }
    let allowed: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    format!("the role {role} may not call {path}; it takes {}", allowed.join(" or "))
}

/// Whether a watchdog calls.
pub fn is_watchdog<T>(request: &Request<T>) -> bool {
    caller(request).is_ok_and(|identity| identity.role == Role::Watchdog)
}

/// Who made this call.
pub fn caller<T>(request: &Request<T>) -> Result<&Identity, Status> {
    request.extensions().get().ok_or_else(|| Status::unauthenticated("the caller is not known"))
}

impl<S> Layer<S> for Access {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { access: self.clone(), inner }
    }
}

/// A service behind the check.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    access: Access,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match self.access.admit(request.extensions(), request.uri().path()) {
            Ok(identity) => {
                if let Some(identity) = identity {
                    request.extensions_mut().insert(identity);
                }
                Answer::Inner(Box::pin(self.inner.call(request)))
            }
            Err(status) => Answer::Refused(Some(status)),
        }
    }
}

/// The answer of the service, or the refusal.
pub enum Answer<F> {
    /// The call was let through.
    Inner(std::pin::Pin<Box<F>>),
    /// It was not.
    Refused(Option<Status>),
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<http::Response<Body>, E>>,
{
    type Output = Result<http::Response<Body>, E>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Inner(future) => future.as_mut().poll(context),
            Self::Refused(status) => match status.take() {
                Some(status) => Poll::Ready(Ok(status.into_http())),
                None => Poll::Pending,
            },
        }
    }
}
