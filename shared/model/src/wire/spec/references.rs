//! What services of a stack name: networks, volumes and each other.

use std::collections::BTreeSet;

use gantry_api::Invalid;

use crate::container::MountSource;
use crate::stack::StackSpec;

/// What services name must exist, and dependencies must not go in a circle.
pub(super) fn check_references(stack: &StackSpec) -> Result<(), Invalid> {
    for (name, service) in &stack.services {
        let field = format!("services.{name}");
        for network in &service.networks {
            if network.network != "default" && !stack.networks.contains_key(&network.network) {
                return Err(Invalid::new(
                    format!("{field}.networks"),
                    format!("names {:?}, which the stack does not have", network.network),
                ));
            }
        }
        for mount in &service.container.mounts {
            if let MountSource::Volume { name: Some(volume), .. } = &mount.source
                && !stack.volumes.contains_key(volume)
            {
                return Err(Invalid::new(
                    format!("{field}.mounts"),
                    format!("names the volume {volume:?}, which the stack does not have"),
                ));
            }
        }
        for metric in service.autoscale.iter().flat_map(|autoscale| &autoscale.metrics) {
            if !metric.service.is_empty() && !stack.services.contains_key(&metric.service) {
                return Err(Invalid::new(
                    format!("{field}.autoscale.metrics"),
                    format!("names {:?}, which the stack does not have", metric.service),
                ));
            }
        }
        for (target, dependency) in &service.depends_on {
            if dependency.required && !stack.services.contains_key(target) {
                return Err(Invalid::new(
                    format!("{field}.depends_on"),
                    format!("names {target:?}, which the stack does not have"),
                ));
            }
        }
    }
    if let Some(cycle) = cycle(stack) {
        return Err(Invalid::new("depends_on", format!("goes in a circle: {}", cycle.join(" → "))));
    }
    Ok(())
}

/// A circle of dependencies, if there is one, with its first service repeated at the end.
fn cycle(stack: &StackSpec) -> Option<Vec<String>> {
    fn visit<'a>(
        stack: &'a StackSpec,
        name: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            let circle = path[start..].iter().chain([&name]);
            return Some(circle.map(|name| (*name).to_owned()).collect());
        }
        if !done.insert(name) {
            return None;
        }
        path.push(name);
        let found = stack
            .services
            .get(name)
            .and_then(|service| service.depends_on.keys().find_map(|next| visit(stack, next, path, done)));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    stack.services.keys().find_map(|name| visit(stack, name, &mut Vec::new(), &mut done))
}
