//! What is refused.

use gantry_identity::Role;
use gantry_model::{Condition, Snapshot};
use tonic::Status;

use super::{Asked, claims};

/// What cannot be admitted whatever is there.
pub fn check(snapshot: &Snapshot, asked: &Asked<'_>) -> Result<(), Status> {
    let spec = asked.spec;
    let leaving = snapshot.stacks.get(&spec.name).is_some_and(|stack| stack.removing)
        || snapshot
            .services_of(&spec.name)
            .any(|service| service.removing && spec.services.contains_key(service.id.name()));
    if leaving {
        return Err(Status::failed_precondition(format!(
            "{} is being removed: wait until `gantry ps {}` shows nothing, then try again",
            spec.name, spec.name
        )));
    }
    for (name, service) in &spec.services {
        let powers = service.container.host_powers();
        if !powers.is_empty() && asked.by.role != Role::Admin {
            return Err(Status::permission_denied(format!(
                "the service {name} asks for {}, which makes it root on its node: only an admin may deploy that",
                powers.join(", ")
            )));
        }
        for (target, dependency) in &service.depends_on {
            let Some(other) =
                spec.services.get(target).filter(|_| dependency.condition == Condition::Healthy)
            else {
                continue;
            };
            let check = other.container.healthcheck.as_ref();
            let own = check.is_some_and(|check| !check.is_none() && !check.test.is_empty());
            let image = asked.images.get(&other.container.image).is_some_and(|image| image.has_healthcheck);
            let probed = other.readiness.is_some() || other.liveness.is_some();
            let switched_off = check.is_some_and(gantry_model::Healthcheck::is_none);
            let unknown = asked.images.get(&other.container.image).is_none_or(|image| image.digest.is_none());
            if !probed && (switched_off || !(own || image || unknown)) {
                return Err(Status::invalid_argument(format!(
                    "{name} waits for {target} to be healthy, but {target} has no health check: \
                     give it a `healthcheck:` or `x-gantry.health`, or wait with `condition: service_started`"
                )));
            }
        }
    }
    claims::check(snapshot, spec)
}
