//! What the cores have counted since they began.

use std::sync::atomic::Ordering::Relaxed;

use crate::balance::{CLASSES, LATENCY_BOUNDS, Life, Registry, State};

/// Everything that was counted, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Of each endpoint.
    pub endpoints: Vec<OfEndpoint>,
    /// Of each backend at one port.
    pub queues: Vec<OfQueue>,
}

/// What was counted of one port of one replica.
#[derive(Debug, Clone)]
pub struct OfEndpoint {
    /// Whose counters these are.
    pub life: Life,
    /// The service.
    pub service: String,
    /// The replica's id.
    pub replica: String,
    /// What has ended.
    pub counts: Counts,
    /// What is being answered now.
    pub in_flight: u64,
}

/// What was counted of those that waited for one backend at one port.
#[derive(Debug, Clone)]
pub struct OfQueue {
    /// Whose counters these are.
    pub life: Life,
    /// The service.
    pub service: String,
    /// How many wait now.
    pub waiting: u32,
    /// How many were ever sent away.
    pub turned_away: u64,
}

/// Requests that ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By class of the answer.
    pub classes: [u64; CLASSES],
    /// By how long the answer took to begin; see [`LATENCY_BOUNDS`].
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
}

impl Counts {
    /// What has come since `before`. A counter begins anew after its largest number.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = *self;
        subtract(&mut since.classes, &before.classes);
        subtract(&mut since.latency, &before.latency);
        since
    }
}

fn subtract(from: &mut [u64], what: &[u64]) {
    for (left, right) in from.iter_mut().zip(what) {
        *left = left.wrapping_sub(*right);
    }
}

impl Totals {
    /// What the cores have counted by now.
    pub fn read(registry: &Registry) -> Self {
        let queues = registry.backends().into_iter().map(|((service, _), state)| OfQueue {
            life: state.life,
            service,
            waiting: state.waiting.load(Relaxed),
            turned_away: state.turned_away.load(Relaxed),
        });
        Self {
            endpoints: registry.counted().iter().map(|state| endpoint(state)).collect(),
            queues: queues.collect(),
        }
    }
}

fn endpoint(state: &State) -> OfEndpoint {
    OfEndpoint {
        life: state.life,
        service: state.backend.clone(),
        replica: state.name.clone(),
        counts: Counts {
            classes: std::array::from_fn(|at| state.sum(|core| &core.classes[at])),
            latency: std::array::from_fn(|at| state.sum(|core| &core.latency[at])),
        },
        in_flight: state.in_flight(),
    }
}
