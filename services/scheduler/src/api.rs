//! The API for people: admits what may be asked, changes records, and shows how things stand.

mod admit;
mod autoscale;
mod backup;
mod cluster;
mod converged;
mod events;
mod exec;
mod files;
mod history;
mod images;
mod logs;
mod nodes;
mod placement;
mod replicas;
mod routes;
mod services;
mod stacks;
mod stats;
mod traffic;
mod usage;
mod volumes;

pub use autoscale::Autoscaling;
pub use cluster::Clusters;
pub use events::Events;
pub use nodes::Nodes;
pub use placement::Placements;
pub use replicas::Replicas;
pub use routes::Routes;
pub use services::Services;
pub use stacks::Stacks;
pub use traffic::TrafficRates;
pub use usage::Advices;

use gantry_model::{Service, ServiceId, Snapshot};
use gantry_store::Error;
use tonic::Status;

/// What a caller is told when a change could not be stored.
#[allow(clippy::needless_pass_by_value)] // For `map_err`.
pub fn store_failed(error: Error) -> Status {
    let message = gantry_boot::chain(&error);
    match error {
        Error::DiskFull { .. } => Status::resource_exhausted(message),
        Error::Conflict { .. } => Status::aborted(message),
        Error::Io { .. } | Error::InUse { .. } | Error::Broken { .. } => Status::unavailable(message),
    }
}

/// Why a change was not made: the caller's fault, or the store's.
pub(crate) struct Refused(pub Status);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(store_failed(error))
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

/// The service of a full name, or what to do if it is not there.
pub(crate) fn find_service<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Service, Status> {
    let id: ServiceId =
        name.parse().map_err(|bad: gantry_model::BadName| Status::invalid_argument(bad.to_string()))?;
    snapshot.services.get(&id).map(AsRef::as_ref).ok_or_else(|| {
        let known: Vec<_> =
            snapshot.services_of(id.stack()).map(|service| service.id.name().to_owned()).collect();
        if known.is_empty() {
            Status::not_found(format!("there is no stack {}: `gantry ls` shows those that are", id.stack()))
        } else {
            Status::not_found(format!(
                "the stack {} has no service {}; it has {}",
                id.stack(),
                id.name(),
                known.join(", ")
            ))
        }
    })
}
