//! What is different, in words.

use std::collections::BTreeSet;

use gantry_model::{Checks, Service, Template};
use serde_json::Value;

/// What is different for the service's containers, one line each. Values of the environment are
/// never shown.
pub fn of_template(old: &Template, new: &Template) -> Vec<String> {
    let mut lines = Vec::new();
    if old.container.image != new.container.image {
        lines.push(format!("image {} → {}", old.container.image, new.container.image));
    } else if old.image_digest != new.image_digest {
        lines.push(format!("image {} is another one now", new.container.image));
    }
    let (before, after) = (&old.container.environment, &new.container.environment);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        match (before.get(name), after.get(name)) {
            (None, Some(_)) => lines.push(format!("environment: {name} is new")),
            (Some(_), None) => lines.push(format!("environment: {name} is gone")),
            (old, new) if old != new => lines.push(format!("environment: {name} has another value")),
            _ => {}
        }
    }
    let (before, after) = (fields(&old.container), fields(&new.container));
    for (name, value) in &after {
        if before.get(name) != Some(value) && !matches!(name.as_str(), "image" | "environment") {
            lines.push(format!("{name} changes"));
        }
    }
    if old.networks != new.networks {
        lines.push("networks change".to_owned());
    }
    if old.ports != new.ports {
        lines.push("ports change".to_owned());
    }
    lines
}

fn fields(container: &gantry_model::Container) -> serde_json::Map<String, Value> {
    match serde_json::to_value(container) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    }
}

/// What is different for the checks on its health. A published port is told as such.
pub fn of_checks(old: &Checks, new: &Checks) -> Option<String> {
    let same = old.readiness == new.readiness && old.liveness == new.liveness;
    (!same).then(|| "how its health is checked changes".to_owned())
}

/// How many replicas.
pub fn plural(replicas: u32) -> String {
    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") }
}

/// What is different for the service itself.
pub fn of_service(old: &Service, new: &Service) -> Vec<String> {
    let mut lines = Vec::new();
    if old.spec.mode != new.spec.mode {
        lines.push(
            if new.is_global() { "one replica on every node" } else { "a number of replicas" }.to_owned(),
        );
    } else if old.replicas != new.replicas {
        lines.push(format!("replicas {} → {}", old.replicas, new.replicas));
    }
    if old.stopped {
        lines.push("it was stopped and starts again".to_owned());
    }
    if old.spec.depends_on != new.spec.depends_on {
        lines.push("depends_on changes".to_owned());
    }
    if old.spec.placement != new.spec.placement {
        lines.push("placement changes: replicas that may not stay where they are are moved".to_owned());
    }
    if old.spec.exclusive != new.spec.exclusive {
        lines.push(
            if new.spec.exclusive { "it is exclusive now" } else { "it is not exclusive any more" }
                .to_owned(),
        );
    }
    if old.spec.update != new.spec.update {
        lines.push("update_config changes".to_owned());
    }
    if !old.spec.ingress_ports().eq(new.spec.ingress_ports()) {
        lines.push("published ports change".to_owned());
    }
    if old.spec.endpoint_mode != new.spec.endpoint_mode {
        lines.push("endpoint_mode changes".to_owned());
    }
    if old.spec.routes != new.spec.routes {
        lines.push("routes change".to_owned());
    }
    if old.spec.policy != new.spec.policy {
        lines.push("how its traffic is balanced changes".to_owned());
    }
    if old.spec.autoscale != new.spec.autoscale {
        lines.push(
            match (&old.spec.autoscale, &new.spec.autoscale) {
                (None, _) => "it is scaled by its load now",
                (_, None) => "it is not scaled by its load any more",
                _ => "how it is scaled by its load changes",
            }
            .to_owned(),
        );
    }
    if old.spec.heal != new.spec.heal {
        lines.push("what is done about unhealthy replicas changes".to_owned());
    }
    if old.spec.labels != new.spec.labels {
        lines.push("labels of the service change".to_owned());
    }
    lines
}
