//! `gantry.cluster.v1`'s `JoinService`, the one that needs no certificate.

use std::sync::{Arc, Mutex, PoisonError};

use gantry_api::cluster::v1::join_service_server::JoinService;
use gantry_api::cluster::v1::{JoinRequest, JoinResponse};
use gantry_boot::{now, random_id};
use gantry_identity::Role;
use gantry_model::NodeId;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::admit::{Asked, admit};
use super::office::Office;
use super::rate::Rate;
use crate::api::Refused;
use crate::state::State;

/// Joins that are worked on at one time.
const AT_ONCE: usize = 4;
/// Signing requests are a few hundred bytes.
pub const LARGEST: usize = 64 << 10;

/// Lets machines join.
pub struct Joining {
    state: State,
    office: Office,
    rate: Mutex<Rate>,
    at_once: Arc<Semaphore>,
}

impl Joining {
    /// Lets machines join the cluster of `state`, with certificates of `office`.
    pub fn new(state: State, office: Office) -> Self {
        Self { state, office, rate: Mutex::default(), at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

#[tonic::async_trait]
impl JoinService for Joining {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let from = request.remote_addr().map(|address| address.ip().to_canonical());
        let busy = || {
            Status::resource_exhausted("too many machines try to join at this moment: try again in a second")
        };
        if let Some(from) = from
            && !self.rate.lock().unwrap_or_else(PoisonError::into_inner).allow(from, now())
        {
            return Err(busy());
        }
        let _one = self.at_once.try_acquire().map_err(|_| busy())?;
        let request = request.into_inner();
        let asked = Asked::read(&request, from)?;
        let own = self.office.fingerprint()?;
        let id = NodeId::new(random_id(12)).map_err(|bad| Status::internal(bad.to_string()))?;
        // Refused before anything is signed, and again, on the newest state, when it is stored.
        let until = |now: gantry_model::Timestamp| now.after(self.office.lifetime());
        admit(&self.state.snapshot(), &own, &asked, &id, until(now()), now())
            .inspect_err(|status| tracing::warn!(?from, reason = status.message(), "a join was refused"))?;
        let hosts = |ip: String| vec!["localhost".to_owned(), "127.0.0.1".to_owned(), ip];
        let hosts = request.addresses.first().cloned().or(from.map(|ip| ip.to_string())).map(hosts);
        let hosts = hosts.unwrap_or_default();
        let sign = |csr: &str, role: Role| self.office.sign(csr, role, id.as_str(), hosts.clone());
        let agent_certificate = sign(&request.agent_request, Role::Node)?;
        let proxy_certificate = sign(&request.proxy_request, Role::Proxy)?;
        self.state
            .commit(|snapshot| {
                admit(snapshot, &own, &asked, &id, until(now()), now())
                    .map(|changes| (changes, ()))
                    .map_err(Refused)
            })
            .await
            .map_err(|Refused(status)| status)?;
        tracing::info!(node = %id, name = request.name, ?from, "a node has joined");
        let snapshot = self.state.snapshot();
        let cluster = &snapshot.cluster;
        Ok(Response::new(JoinResponse {
            node_id: id.to_string(),
            cluster_id: cluster.id.to_string(),
            cluster_name: cluster.name.clone(),
            ca: self.office.authority()?.certificate().to_owned(),
            agent_certificate,
            proxy_certificate,
            scheduler_addresses: self.office.places(&snapshot),
            mtu: cluster.mtu,
            pool: cluster.pool.to_string(),
            redirect_port: self.office.redirect_port().into(),
        }))
    }
}
