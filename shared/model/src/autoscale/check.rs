//! What makes no sense: each rule once, for files and for messages.

use std::time::Duration;

use super::{Autoscale, MetricTarget, Selector};
use crate::container::{NetworkMode, Resources};
use crate::placement::Mode;
use crate::port::Protocol;
use crate::spec::{EndpointMode, ServiceSpec};

/// A service has at most that many replicas.
const MOST: u32 = 10_000;
/// Above this a replica that is at its limit is still within the tenth that is tolerated.
const MOST_OF_LIMIT: u32 = 90;
const MOST_METRICS: usize = 16;
const MOST_ENTRIES: usize = 64;
const LONGEST: Duration = Duration::from_hours(24);
/// Proxies count answers that began later together, so a target above this would never be missed.
const SLOWEST: Duration = Duration::from_secs(20);

/// Something of a service's autoscaling that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoscaleFault {
    /// The key that it is about, as the file has it; empty is all of them.
    pub key: &'static str,
    /// What is wrong, and what was expected.
    pub message: String,
}

fn fault(key: &'static str, message: impl Into<String>) -> AutoscaleFault {
    AutoscaleFault { key, message: message.into() }
}

impl ServiceSpec {
    /// What of its autoscaling makes no sense; nothing where it has none.
    pub fn autoscale_faults(&self) -> Vec<AutoscaleFault> {
        let Some(autoscale) = &self.autoscale else { return Vec::new() };
        let mut faults = autoscale.faults();
        faults.extend(self.kind_fault());
        faults.extend(autoscale.shares(&self.container.resources));
        if !self.is_proxied()
            && let Some(key) = autoscale.key_of_traffic()
        {
            let what = if key == "min" { "min: 0" } else { key };
            faults.push(fault(
                key,
                format!("{what} needs traffic that goes through the proxy: publish a port, give the service a route, or leave endpoint_mode: vip"),
            ));
        } else if autoscale.sleeps() && !self.can_be_woken(autoscale) {
            let key = if autoscale.min == 0 { "min" } else { "schedule" };
            faults.push(fault(
                key,
                "nothing would wake it from min: 0: while it has no replica, nobody tells a metric of the service itself; set service: QUEUE in the metric to ask another service, or min: 1, or publish a TCP port or give it a route",
            ));
        }
        faults
    }

    /// What of its autoscaling is hardly what was meant. It is taken all the same.
    pub fn autoscale_doubt(&self) -> Option<AutoscaleFault> {
        let key = self.autoscale.as_ref()?.key_of_traffic()?;
        let only_host = !self.ports.is_empty() && self.ingress_ports().next().is_none();
        let meant = self.endpoint_mode == Some(EndpointMode::Vip) || !self.routes.is_empty();
        let what = if key == "min" { "min: 0" } else { key };
        (only_host && !meant && self.is_proxied()).then(|| {
            fault(
                key,
                format!("{what} sees nothing of what comes to ports with mode: host: that goes past the proxy, and only what other services send to its address counts; say endpoint_mode: vip if that is meant, or publish the ports with mode: ingress"),
            )
        })
    }

    /// Whether something is there that wakes it when it has no replica. Anyone could send to an address of its own,
    /// but somebody does only where its targets say so.
    fn can_be_woken(&self, autoscale: &Autoscale) -> bool {
        let of_others = |metric: &MetricTarget| !metric.service.is_empty();
        let own = !autoscale.metrics.is_empty() && !autoscale.metrics.iter().any(of_others);
        !own || autoscale.key_of_load().is_some() || self.is_published()
    }

    /// Whether a port or a route leads to it through the proxies.
    fn is_published(&self) -> bool {
        self.ingress_ports().any(|port| port.protocol == Protocol::Tcp) || !self.routes.is_empty()
    }

    /// Whether requests for it can go through the proxies: to a published port, by a route, or to an
    /// address of its own.
    pub fn is_proxied(&self) -> bool {
        let virtually = match self.endpoint_mode {
            Some(mode) => mode == EndpointMode::Vip,
            None => !self.speaks_udp(),
        };
        let networks = self.container.network_mode == NetworkMode::Networks;
        self.is_published() || (networks && virtually)
    }

    fn kind_fault(&self) -> Option<AutoscaleFault> {
        let message = if self.mode == Mode::Global {
            "a service with mode: global has one replica on every node: it is not scaled by load"
        } else if self.exclusive {
            "an exclusive service has one replica: it is not scaled by load"
        } else if self.restart().runs_once() {
            "a service that runs once is not scaled by load: leave restart out, or say always"
        } else {
            return None;
        };
        Some(fault("", message))
    }
}

impl Autoscale {
    /// The first key that needs traffic through the proxies, if one does.
    fn key_of_traffic(&self) -> Option<&'static str> {
        self.key_of_load().or_else(|| self.sleeps().then_some("min"))
    }

    /// Whether it may have no replica at some time.
    fn sleeps(&self) -> bool {
        self.min == 0 || self.schedule.iter().any(|entry| entry.min == Some(0))
    }

    /// The first target of what the proxies measure, if there is one.
    fn key_of_load(&self) -> Option<&'static str> {
        let keys = [
            ("rps", self.rps.is_some()),
            ("concurrency", self.concurrency.is_some()),
            ("p95", self.p95.is_some()),
            ("p99", self.p99.is_some()),
        ];
        keys.into_iter().find_map(|(key, is_set)| is_set.then_some(key))
    }

    /// Whether anything says how many replicas the load needs.
    pub fn has_target(&self) -> bool {
        self.has_proportional_target() || self.p95.is_some() || self.p99.is_some()
    }

    /// Whether any target is of a sum that more replicas share, so that it says by itself how many it needs.
    pub fn has_proportional_target(&self) -> bool {
        self.cpu.is_some()
            || self.memory.is_some()
            || self.rps.is_some()
            || self.concurrency.is_some()
            || !self.metrics.is_empty()
    }

    fn faults(&self) -> Vec<AutoscaleFault> {
        let mut faults = Vec::new();
        if self.max == 0 {
            faults.push(fault("max", "max must be at least 1: `gantry stop` stops a service"));
        } else if self.max > MOST {
            faults.push(fault("max", format!("max is {}: a service has at most {MOST} replicas", self.max)));
        } else if self.min > self.max {
            faults.push(fault(
                "min",
                format!("min is {} and max is {}: min must not be above max", self.min, self.max),
            ));
        }
        if !self.has_target() && self.min > 0 && self.schedule.is_empty() {
            let targets = "cpu: 70%, memory: 80%, rps: 100, concurrency: 20, p95: 250ms or a metric";
            faults.push(fault("", format!("autoscale has no target: add {targets}")));
        }
        for (key, target) in [("rps", self.rps), ("concurrency", self.concurrency)] {
            if target.is_some_and(|target| !positive(target)) {
                faults.push(fault(key, format!("{key} must be above 0")));
            }
        }
        for (key, target) in [("p95", self.p95), ("p99", self.p99)] {
            if target.is_some_and(|target| target.is_zero() || target > SLOWEST) {
                faults.push(fault(key, format!("{key} must be above 0 and at most 20s")));
            }
        }
        for (key, time) in
            [("scale_up_after", self.scale_up_after), ("scale_down_after", self.scale_down_after)]
        {
            if time > LONGEST {
                faults.push(fault(key, format!("{key} must be at most 24h")));
            }
        }
        if self.metrics.len() > MOST_METRICS {
            faults.push(fault("metrics", format!("at most {MOST_METRICS} metrics are taken")));
        }
        faults.extend(self.metrics.iter().filter_map(MetricTarget::fault));
        if self.schedule.len() > MOST_ENTRIES {
            faults.push(fault("schedule", format!("at most {MOST_ENTRIES} entries are taken")));
        }
        for entry in &self.schedule {
            let (min, max) = (entry.min.unwrap_or(self.min), entry.max.unwrap_or(self.max));
            if max == 0 || max > MOST || min > max {
                let when = &entry.begins;
                faults.push(fault(
                    "schedule",
                    format!("from {when} on min is {min} and max is {max}: min must not be above max, and max is 1 to {MOST}"),
                ));
            }
        }
        faults
    }

    /// What is wrong with targets in per cent, for a service with these resources.
    fn shares(&self, resources: &Resources) -> Vec<AutoscaleFault> {
        let set = |value: Option<i64>| value.is_some_and(|value| value > 0);
        let (cpu_limit, memory_limit) = (set(resources.nano_cpus), set(resources.memory));
        let mut faults = Vec::new();
        for (key, share, limited) in [("cpu", self.cpu, cpu_limit), ("memory", self.memory, memory_limit)] {
            let Some(share) = share else { continue };
            if share == 0 || share > 1_000 {
                faults.push(fault(key, format!("{key} must be a share such as 70%, above 0%")));
            } else if limited && share > MOST_OF_LIMIT {
                faults.push(fault(
                    key,
                    format!("{key} must be at most {MOST_OF_LIMIT}%: a replica cannot use more than its limit, and a tenth above the target is tolerated"),
                ));
            }
        }
        if self.memory.is_some() && !memory_limit && !set(resources.reserved_memory) {
            faults.push(fault(
                "memory",
                "memory is per cent of a limit or of a reservation, and the service has neither: set deploy.resources.limits.memory",
            ));
        }
        faults
    }
}

impl MetricTarget {
    fn fault(&self) -> Option<AutoscaleFault> {
        let named = self.name.len() <= 500 && Selector::parse(&self.name).is_ok();
        let message = if self.port == 0 {
            "a metric needs port: NUMBER, the port in the container that tells it".to_owned()
        } else if !self.path.starts_with('/') || self.path.contains(char::is_whitespace) {
            format!("path must be a path such as /metrics, and this is {:?}", self.path)
        } else if !named {
            format!(
                "name must be a metric such as jobs_waiting or jobs_waiting{{queue=\"mail\"}}, and this is {:?}",
                self.name
            )
        } else if !positive(self.target) {
            "target must be above 0: how much of the metric one replica takes".to_owned()
        } else {
            return None;
        };
        Some(fault("metrics", message))
    }
}

fn positive(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
