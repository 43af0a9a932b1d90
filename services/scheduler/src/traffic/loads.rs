//! What arrives now, for whoever decides by it.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::ServiceId;

use super::histogram::{Histogram, quantile};

/// What arrives now, service by service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loads {
    /// Proxies that have told something in the last seconds.
    pub proxies: usize,
    /// Services of which they have told anything.
    pub services: BTreeMap<ServiceId, Load>,
}

/// What arrives now for one service, added up over all proxies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// Requests that arrived in the last second, also those that wait or were turned away.
    pub arrived: u64,
    /// Requests that replicas were answering, on average over the last second.
    pub in_flight: f64,
    /// Requests that wait for a replica.
    pub waiting: u64,
    /// Answers of the last seconds, by how long they took to begin.
    pub latency: Histogram,
}

impl Load {
    /// The time within which `share` (0 to 1) of the last answers began; `None` where there were none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        quantile(&self.latency, share)
    }

    /// Answers that the quantiles are made from.
    pub fn answers(&self) -> u64 {
        self.latency.iter().map(|count| u64::from(*count)).sum()
    }
}
