//! What rules can look at. This table is the only place that says so.

use serde::{Deserialize, Serialize};

/// Something that has a value for every service, or for every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The table says what each is.
pub enum Metric {
    ReplicasWanted,
    ReplicasRunning,
    ReplicasReady,
    ReplicasMissing,
    ReplicasUnhealthy,
    Restarts,
    Crashes,
    RequestsPerSecond,
    ErrorRate,
    P50Ms,
    P95Ms,
    P99Ms,
    InFlight,
    Waiting,
    NodeReady,
    NodeReplicas,
    NodeConditions,
    NodeLost,
    NodeFlaps,
    DiskUsedPercent,
}

/// What has the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Each service.
    Service,
    /// Each node.
    Node,
}

impl Scope {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Node => "node",
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub struct MetricInfo {
    /// Which metric.
    pub metric: Metric,
    /// Its name in files.
    pub name: &'static str,
    /// What has it.
    pub scope: Scope,
    /// What it is, with its unit.
    pub about: &'static str,
}

const fn service(metric: Metric, name: &'static str, about: &'static str) -> MetricInfo {
    MetricInfo { metric, name, scope: Scope::Service, about }
}

const fn node(metric: Metric, name: &'static str, about: &'static str) -> MetricInfo {
    MetricInfo { metric, name, scope: Scope::Node, about }
}

/// Every metric.
pub const METRICS: &[MetricInfo] = &[
    service(Metric::ReplicasWanted, "replicas_wanted", "replicas that the service is to have"),
    service(Metric::ReplicasRunning, "replicas_running", "replicas that run"),
    service(Metric::ReplicasReady, "replicas_ready", "replicas that take traffic"),
    service(Metric::ReplicasMissing, "replicas_missing", "replicas that are wanted and not ready"),
    service(
        Metric::ReplicasUnhealthy,
        "replicas_unhealthy",
        "replicas of which as many checks in a row failed as their retries allow",
    ),
    service(Metric::Restarts, "restarts", "restarts of the replicas that it has now, since they were made"),
    service(
        Metric::Crashes,
        "crashes",
        "ends of its replicas' processes in the last 10 minutes, at most 8 a replica",
    ),
    service(Metric::RequestsPerSecond, "requests_per_second", "requests a second, over 10 s"),
    service(
        Metric::ErrorRate,
        "error_rate",
        "share of requests answered with 5xx or not at all, 0 to 1 or 0% to 100%, over 10 s",
    ),
    service(Metric::P50Ms, "p50_ms", "time in which half of the answers began, in milliseconds, over 10 s"),
    service(Metric::P95Ms, "p95_ms", "time in which 95% of the answers began, in milliseconds, over 10 s"),
    service(Metric::P99Ms, "p99_ms", "time in which 99% of the answers began, in milliseconds, over 10 s"),
    service(Metric::InFlight, "in_flight", "requests that are being answered"),
    service(Metric::Waiting, "waiting", "requests that wait for a replica"),
    // The place of CPU and memory of a service: they are not sampled yet.
    node(Metric::NodeReady, "node_ready", "1 while its agent is connected and heard, else 0"),
    node(Metric::NodeReplicas, "node_replicas", "replicas that are placed on it"),
    node(Metric::NodeConditions, "node_conditions", "things that are wrong with its networks or its engine"),
    node(Metric::NodeLost, "node_lost", "1 while it is taken for gone, else 0"),
    node(Metric::NodeFlaps, "node_flaps", "how often it went silent and came back, of late"),
    node(
        Metric::DiskUsedPercent,
        "disk_used_percent",
        "how much of the fullest of its engine's and its agent's disks is used, 0 to 100",
    ),
];

impl Metric {
    /// The metric of a name.
    pub fn find(name: &str) -> Option<Self> {
        METRICS.iter().find(|info| info.name == name).map(|info| info.metric)
    }

    /// Its line of the table.
    pub fn info(self) -> &'static MetricInfo {
        // Every metric has its line: a test walks them.
        METRICS.iter().find(|info| info.metric == self).unwrap_or(&METRICS[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_by_its_name_which_is_also_how_it_is_stored() {
        for (number, info) in METRICS.iter().enumerate() {
            assert_eq!(Metric::find(info.name), Some(info.metric));
            assert_eq!(info.metric.info().name, info.name);
            assert_eq!(serde_json::to_string(&info.metric).unwrap(), format!("{:?}", info.name));
            assert_eq!(
                info.metric as usize, number,
                "{}: in the order of the enum, none left out",
                info.name
            );
        }
        assert_eq!(METRICS.len(), Metric::DiskUsedPercent as usize + 1);
        assert_eq!(Metric::find("cpu_temperature"), None);
    }
}
