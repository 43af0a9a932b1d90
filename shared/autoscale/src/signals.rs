use std::time::Duration;

use gantry_model::Timestamp;

/// What was seen of one service in the last second.
///
/// Replicas that are on their way out are not part of it. What is not known is `None`, never 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals {
    /// How many replicas it is to have now.
    pub count: u32,
    /// Those that it has, at most `count`; a slot that waits for a node may be left out.
    pub replicas: Vec<Replica>,
    /// What its proxies saw; `None`: none of them has told anything in the last seconds.
    pub traffic: Option<Traffic>,
    /// For each metric of its rules, in order, what was read, added up over all that were asked; or why not.
    pub metrics: Vec<Result<f64, String>>,
    /// What changes the service right now, such as `an update`: then its count is left alone.
    pub changing: Option<&'static str>,
    /// What replaces or restarts some of its replicas, such as `a repair`: then none is taken away.
    pub healing: Option<&'static str>,
}

/// One replica.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replica {
    /// How far it is.
    pub stage: Stage,
    /// When its process was started last.
    pub started_at: Option<Timestamp>,
    /// What it uses.
    pub usage: Option<Usage>,
}

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a node, or for what it depends on.
    Pending,
    /// It is being made or started, and was not ready yet.
    Starting,
    /// It takes traffic.
    Ready,
    /// It does not take traffic any more.
    Unready,
}

/// What a replica uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Thousandths of a core, over the last second that was measured.
    pub cpu_millicores: u32,
    /// Bytes of memory, without the page cache that the kernel would give back; `None` where it does not
    /// count them.
    pub memory_bytes: Option<u64>,
    /// How long ago that was.
    pub age: Duration,
}

/// What all proxies saw of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Requests a second that arrived in the last second, also those that wait or were turned away.
    pub rps: f64,
    /// Requests that replicas are answering, on average over the last second.
    pub in_flight: f64,
    /// Requests that wait for a replica.
    pub waiting: u32,
    /// 95% of the answers of the last 5 seconds began within this time.
    pub p95: Option<Duration>,
    /// 99% did.
    pub p99: Option<Duration>,
    /// Answers that those are made from.
    pub requests: u64,
    /// Some proxies have told nothing: there may be more of all of that.
    pub partial: bool,
}

impl Signals {
    /// How many take traffic.
    pub(crate) fn ready(&self) -> u32 {
        self.staged(|stage| stage == Stage::Ready)
    }

    /// How many have not been ready yet.
    pub(crate) fn coming(&self) -> u32 {
        self.staged(|stage| matches!(stage, Stage::Pending | Stage::Starting))
    }

    /// How many have a container and take no traffic.
    pub(crate) fn unready(&self) -> u32 {
        self.staged(|stage| matches!(stage, Stage::Starting | Stage::Unready))
    }

    fn staged(&self, is_meant: impl Fn(Stage) -> bool) -> u32 {
        let count = self.replicas.iter().filter(|replica| is_meant(replica.stage)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
