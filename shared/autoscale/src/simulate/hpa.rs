//! Kubernetes' horizontal pod autoscaler with its defaults, as its documentation and the controller's code
//! give them, for CPU in per cent of the request. It is the peer that [`decide`](crate::decide) is compared
//! with.
//!
//! - Metrics: metrics-server's scrape every 15 s, of which each tells the mean since the one before.
//! - Every 15 s: `ceil(ready × utilisation / target)`, nothing within 10%. A pod whose first 5 minutes are
//!   not over and whose sample is not all from after it became ready is left out, and counts as idle when
//!   pods are added; a pod without a sample counts as idle when pods are added and as using its whole
//!   request when some are taken away.
//! - Up: at most the larger of doubling and 4 pods in 15 s, at once. Down: the highest recommendation of
//!   the last 300 s.

use std::collections::{BTreeMap, VecDeque};

use super::model::World;
use crate::number::replicas;

const PERIOD: u64 = 15;
const SCRAPE: u64 = 15;
const TOLERANCE: f64 = 0.1;
const INITIALIZATION: u64 = 300;
const STABILIZATION: u64 = 300;

/// The peer.
#[derive(Debug, Clone)]
pub struct Hpa {
    target: f64,
    min: u32,
    max: u32,
    phase: u64,
    /// What each pod used since the last scrape: sum and seconds.
    since_scrape: BTreeMap<u64, (f64, u64)>,
    /// What metrics-server tells: when it was scraped, and the mean of each pod.
    told: (u64, BTreeMap<u64, f64>),
    recommendations: VecDeque<(u64, u32)>,
    added: VecDeque<(u64, u32)>,
}

impl Hpa {
    /// One for this utilisation in per cent. `phase`: the second of its period in which it looks.
    pub fn new(target: u32, min: u32, max: u32, phase: u64) -> Self {
        Self {
            target: f64::from(target) / 100.0,
            min,
            max,
            phase: phase % PERIOD,
            since_scrape: BTreeMap::new(),
            told: (0, BTreeMap::new()),
            recommendations: VecDeque::new(),
            added: VecDeque::new(),
        }
    }

    /// How many pods there are to be after this second.
    pub fn scale(&mut self, second: u64, world: &World) -> u32 {
        for pod in world.running() {
            let (sum, seconds) = self.since_scrape.entry(pod.id).or_default();
            (*sum, *seconds) = (*sum + pod.busy, *seconds + 1);
        }
        if second.is_multiple_of(SCRAPE) {
            let whole = std::mem::take(&mut self.since_scrape).into_iter();
            // Two scrapes make a sample: a pod that is younger has none.
            let means = whole
                .filter(|(_, (_, seconds))| *seconds >= SCRAPE || second == 0)
                .map(|(pod, (sum, seconds))| (pod, sum / f64::from(u32::try_from(seconds).unwrap_or(1))));
            self.told = (second, means.collect());
        }
        let current = u32::try_from(world.running().len()).unwrap_or(u32::MAX);
        if second % PERIOD != self.phase {
            return current;
        }
        let wanted = self.wanted(second, world, current);
        self.limited(second, current, wanted)
    }

    /// The recommendation by the last scrape.
    fn wanted(&self, second: u64, world: &World, current: u32) -> u32 {
        let (scraped_at, told) = &self.told;
        let (mut counted, mut unready, mut missing) = (Vec::new(), 0_u32, 0_u32);
        for pod in world.running() {
            let Some(usage) = told.get(&pod.id) else {
                missing += 1;
                continue;
            };
            let is_young = second < pod.since + INITIALIZATION;
            let sample_is_early = pod.ready_at > 0 && *scraped_at < pod.ready_at + SCRAPE;
            if is_young && (!pod.is_ready(second) || sample_is_early) {
                unready += 1;
            } else {
                counted.push(*usage);
            }
        }
        let among = |pods: usize| f64::from(u32::try_from(pods).unwrap_or(u32::MAX));
        if counted.is_empty() {
            return current;
        }
        let ratio = |sum: f64, pods: f64| sum / pods / self.target;
        let sum: f64 = counted.iter().sum();
        let first = ratio(sum, among(counted.len()));
        let with_unready = unready > 0 && first > 1.0;
        if !with_unready && missing == 0 {
            let same = (first - 1.0).abs() <= TOLERANCE;
            return if same { current } else { replicas(first * among(counted.len())) };
        }
        let (mut sum, mut pods) = (sum, among(counted.len()) + f64::from(missing));
        if first < 1.0 {
            sum += f64::from(missing);
        }
        if with_unready {
            pods += f64::from(unready);
        }
        let second = ratio(sum, pods);
        let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
        let wanted = replicas(second * pods);
        let back = (second < 1.0 && wanted > current) || (second > 1.0 && wanted < current);
        if (second - 1.0).abs() <= TOLERANCE || turned || back { current } else { wanted }
    }

    fn limited(&mut self, second: u64, current: u32, wanted: u32) -> u32 {
        self.recommendations.retain(|(at, _)| at + STABILIZATION > second);
        self.recommendations.push_back((second, wanted));
        self.added.retain(|(at, _)| at + PERIOD > second);
        let highest = self.recommendations.iter().map(|(_, wanted)| *wanted).max().unwrap_or(wanted);
        // What is above now is followed at once; what is below, to the highest of the window.
        let stable = if wanted > current { wanted } else { highest.min(current) };
        let added: u32 = self.added.iter().map(|(_, added)| added).sum();
        let before = current.saturating_sub(added);
        let most = (before * 2).max(before + 4).max(current);
        let count = stable.min(most).clamp(self.min, self.max);
        if count > current {
            self.added.push_back((second, count - current));
        }
        count
    }
}
