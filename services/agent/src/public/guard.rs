//! What may not be done here: changing a service's containers behind the scheduler's back, and
//! becoming root on the host without being an admin.

use gantry_identity::{Identity, Role};
use gantry_model::Container;
use tonic::Status;

use crate::engine::Engine;

/// Refuses to `verb` a container that belongs to a service, and names the command to use instead.
pub async fn refuse_managed(engine: &Engine, id: &str, verb: &str) -> Result<(), Status> {
    let found = engine.inspect(id).await?;
    let service = found.container.map(|container| container.service).unwrap_or_default();
    if service.is_empty() {
        return Ok(());
    }
    let command = match verb {
        "start" => format!("`gantry start {service}`"),
        "stop" | "kill" | "pause" => format!("`gantry stop {service}`"),
        "remove" => format!("`gantry scale {service}=N` or `gantry rm {service}`"),
        _ => format!("`gantry restart {service}`"),
    };
    Err(Status::failed_precondition(format!(
        "cannot {verb} {id} here: it belongs to the service {service}; use {command}"
    )))
}

/// Refuses what equals root on the host to everybody but admins.
pub fn refuse_powers(caller: &Identity, container: &Container) -> Result<(), Status> {
    let powers = container.host_powers();
    if powers.is_empty() || caller.role == Role::Admin {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "the container asks for {}, which makes it root on the host: only an admin may create it",
        powers.join(", ")
    )))
}
