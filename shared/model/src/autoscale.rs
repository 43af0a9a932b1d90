//! How many replicas a service has by its load: bounds, targets, and how quickly they are followed.

mod check;
mod recurrence;
mod selector;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use check::AutoscaleFault;
pub use recurrence::{BadRecurrence, Recurrence};
pub use selector::{BadSelector, Selector, read_series};

/// How many replicas a service has by its load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Autoscale {
    /// At least that many; with 0 a service that nobody asks anything of has none.
    pub min: u32,
    /// At most that many; at least 1.
    pub max: u32,
    /// Processor time of a replica in per cent of its limit, else of its reservation, else of one core.
    pub cpu: Option<u32>,
    /// Memory of a replica in per cent of its limit, else of its reservation.
    pub memory: Option<u32>,
    /// Requests a second that arrive, for each replica.
    pub rps: Option<f64>,
    /// Requests in flight or waiting, for each replica.
    pub concurrency: Option<f64>,
    /// 95% of answers begin within this time.
    pub p95: Option<Duration>,
    /// 99% do.
    pub p99: Option<Duration>,
    /// The user's own numbers, such as the length of a queue.
    pub metrics: Vec<MetricTarget>,
    /// The load must be above its targets for this time before replicas are added.
    pub scale_up_after: Duration,
    /// Replicas are taken away when fewer were enough for this time.
    pub scale_down_after: Duration,
    /// Whether the count is set, or only recommended.
    pub mode: AutoscaleMode,
    /// Other bounds at certain times: the entry that began last holds.
    pub schedule: Vec<ScheduleEntry>,
}

impl Autoscale {
    /// Whether it ever lets its service have no replica.
    pub fn may_sleep(&self) -> bool {
        self.min == 0 || self.schedule.iter().any(|entry| entry.min == Some(0))
    }
}

impl Default for Autoscale {
    fn default() -> Self {
        Self {
            min: 1,
            max: 1,
            cpu: None,
            memory: None,
            rps: None,
            concurrency: None,
            p95: None,
            p99: None,
            metrics: Vec::new(),
            scale_up_after: Duration::from_secs(3),
            scale_down_after: Duration::from_mins(5),
            mode: AutoscaleMode::Auto,
            schedule: Vec::new(),
        }
    }
}

/// A number of the user's own that grows with the load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricTarget {
    /// The service of the stack whose replicas are asked; empty is the service itself.
    pub service: String,
    /// The port in its containers.
    pub port: u16,
    /// The path that answers in Prometheus' text format.
    pub path: String,
    /// The metric's name, perhaps with labels, such as `jobs_waiting{queue="mail"}`.
    pub name: String,
    /// How much of it, added up over all replicas that are asked, one replica of this service takes.
    pub target: f64,
}

/// Whether the count is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AutoscaleMode {
    /// It is.
    #[default]
    Auto,
    /// It is only said what it would be.
    Recommend,
    /// Nothing is done.
    Off,
}

impl AutoscaleMode {
    /// The words that people write.
    pub const WORDS: [(&str, Self); 3] =
        [("auto", Self::Auto), ("recommend", Self::Recommend), ("off", Self::Off)];
}

impl fmt::Display for AutoscaleMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Recommend => "recommend",
            Self::Off => "off",
        })
    }
}

/// Bounds that hold from certain times on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleEntry {
    /// When they begin to hold; they end when another entry begins.
    pub begins: Recurrence,
    /// At least that many; `None` is the service's own.
    pub min: Option<u32>,
    /// At most that many; `None` is the service's own.
    pub max: Option<u32>,
}
