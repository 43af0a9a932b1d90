//! `deploy:` of a service.

use gantry_model::{EndpointMode, Mode, NetworkMode, Resources, RestartPolicy, ServiceSpec, UpdateOrder};

use crate::section::Section;
use crate::{keys, placement};

/// Reads `deploy:` into the spec. It wins over the older keys outside of it.
pub fn read(section: &Section<'_>, spec: &mut ServiceSpec) {
    let Some(deploy) = section.section("deploy") else { return };
    let log = section.log;
    match deploy.text("mode").as_deref() {
        None | Some("replicated") => {}
        Some("global") => spec.mode = Mode::Global,
        Some(job @ ("replicated-job" | "global-job")) => {
            let message = format!("mode {job} is not supported");
            log.error_with(
                deploy.value_at("mode"),
                message,
                "restart: \"no\" makes a service that runs once",
            );
        }
        Some(other) => {
            log.error(
                deploy.value_at("mode"),
                format!("there is no mode {other:?}: use replicated or global"),
            );
        }
    }
    if let Some(replicas) = deploy.number("replicas") {
        spec.replicas = Some(replicas);
    }
    if spec.mode == Mode::Global && spec.replicas.is_some() {
        let at = if deploy.get("replicas").is_some() {
            deploy.value_at("replicas")
        } else {
            section.value_at("scale")
        };
        log.error(at, "a service with mode: global has one replica on every node: leave the number out");
    }
    if let Some(placement) = deploy.section("placement") {
        spec.placement = placement::read(&placement);
        placement.finish(keys::PLACEMENT);
    }
    spec.labels = deploy.pairs("labels");
    spec.endpoint_mode =
        deploy.choice("endpoint_mode", &[("vip", EndpointMode::Vip), ("dnsrr", EndpointMode::Dnsrr)]);
    if spec.endpoint_mode.is_some() && spec.container.network_mode != NetworkMode::Networks {
        log.error(deploy.key_at("endpoint_mode"), "endpoint_mode does not go together with network_mode");
    }
    if let Some(resources) = deploy.section("resources") {
        limits(&resources, &mut spec.container.resources);
        resources.finish(&["limits", "reservations"]);
    }
    if let Some(policy) = deploy.section("restart_policy") {
        spec.container.restart = restart_policy(&policy).or(spec.container.restart);
        policy.finish(keys::RESTART_POLICY);
    }
    if let Some(update) = deploy.section("update_config") {
        spec.update.parallelism = update.number("parallelism").unwrap_or(1);
        spec.update.delay = update.duration("delay").unwrap_or_default();
        spec.update.order = match update.text("order").as_deref() {
            None => None,
            Some("stop-first") => Some(UpdateOrder::StopFirst),
            Some("start-first") => Some(UpdateOrder::StartFirst),
            Some(other) => {
                log.error(
                    update.key_at("order"),
                    format!("there is no order {other:?}: use stop-first or start-first"),
                );
                None
            }
        };
        update.finish(keys::UPDATE_CONFIG);
    }
    deploy.finish(keys::DEPLOY);
}

fn limits(section: &Section<'_>, resources: &mut Resources) {
    if let Some(limits) = section.section("limits") {
        resources.nano_cpus = limits.cpus("cpus").or(resources.nano_cpus);
        resources.memory = limits.bytes("memory").or(resources.memory);
        resources.pids = limits.number("pids").or(resources.pids);
        limits.finish(keys::RESOURCES);
    }
    if let Some(reservations) = section.section("reservations") {
        resources.reserved_nano_cpus = reservations.cpus("cpus").or(resources.reserved_nano_cpus);
        resources.reserved_memory = reservations.bytes("memory").or(resources.reserved_memory);
        let at = reservations.key_at("memory");
        if let (Some(limit), Some(reserved)) = (resources.memory, resources.reserved_memory)
            && reserved > limit
        {
            section.log.error(at, "more memory is reserved than the limit allows");
        }
        reservations.finish(keys::RESOURCES);
    }
}

fn restart_policy(policy: &Section<'_>) -> Option<RestartPolicy> {
    let max_retries: Option<u32> = policy.number("max_attempts").filter(|attempts| *attempts > 0);
    match policy.text("condition").as_deref() {
        None | Some("any") => {
            if max_retries.is_some() {
                let message = "max_attempts is honoured with condition on-failure only: this service is restarted without end";
                policy.log.warning(policy.key_at("max_attempts"), message);
            }
            // Swarm's `any` is a promise to keep it running.
            Some(RestartPolicy::Always)
        }
        Some("none") => Some(RestartPolicy::No),
        Some("on-failure") => Some(RestartPolicy::OnFailure { max_retries }),
        Some(other) => {
            policy.log.error(
                policy.key_at("condition"),
                format!("there is no condition {other:?}: use any, on-failure or none"),
            );
            None
        }
    }
}
