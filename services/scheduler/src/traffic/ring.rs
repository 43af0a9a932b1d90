//! The last seconds, added up over all proxies.
//!
//! Counts go to the second in which they arrive, on the scheduler's clock. What is in flight or waits is
//! no count: it is kept as each proxy said it last, and a proxy that says nothing any more fades out.

use std::collections::BTreeMap;

use gantry_model::{ReplicaId, ServiceId};

use super::histogram::Histogram;
use super::report::{OfService, Report};

/// Classes of answers: none at all, 1xx, 2xx, 3xx, 4xx, 5xx.
pub const CLASSES: usize = 6;
/// So many whole seconds are kept, beside the one that is filling.
pub const KEPT: u64 = 60;
/// A proxy that has said nothing for more than so many seconds has nothing in flight.
const SILENT: u64 = 3;
/// Replicas that one second, or one proxy, remembers at most; others count for their services only.
const MAX_REPLICAS: usize = 10_000;

/// Requests that ended. Counts stop at their largest number instead of beginning anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By class of the answer.
    pub classes: [u32; CLASSES],
    /// By how long the answer took to begin.
    pub latency: Histogram,
}

impl Counts {
    /// Adds others to these.
    pub fn add(&mut self, other: &Self) {
        let mine = self.classes.iter_mut().chain(&mut self.latency);
        for (mine, other) in mine.zip(other.classes.iter().chain(&other.latency)) {
            *mine = mine.saturating_add(*other);
        }
    }
}

/// The last seconds.
#[derive(Debug, Default)]
pub struct Ring {
    seconds: BTreeMap<u64, Second>,
    proxies: BTreeMap<String, Proxy>,
}

/// What was reported in one second, by all proxies.
#[derive(Debug, Default)]
struct Second {
    services: BTreeMap<ServiceId, Tally>,
    replicas: usize,
}

#[derive(Debug, Default)]
struct Tally {
    counts: Counts,
    replicas: BTreeMap<ReplicaId, Counts>,
}

/// What one proxy said last.
#[derive(Debug, Default)]
struct Proxy {
    at: u64,
    services: BTreeMap<ServiceId, Now>,
}

#[derive(Debug, Default)]
struct Now {
    in_flight: u64,
    waiting: u64,
    replicas: BTreeMap<ReplicaId, u32>,
}

/// The traffic of one service in the last seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// What has ended, also what found no replica.
    pub counts: Counts,
    /// What is being answered.
    pub in_flight: u64,
    /// What waits for a replica.
    pub waiting: u64,
    /// Replica by replica.
    pub replicas: BTreeMap<ReplicaId, OfReplica>,
}

/// The traffic of one replica in the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfReplica {
    /// What has ended.
    pub counts: Counts,
    /// What is being answered.
    pub in_flight: u64,
}

impl Ring {
    /// Takes what the proxy `instance` told in the second `at`.
    pub fn add(&mut self, at: u64, instance: &str, report: Report) {
        self.seconds.retain(|second, _| *second + KEPT >= at);
        self.proxies.retain(|_, proxy| proxy.at + SILENT >= at);
        let second = self.seconds.entry(at).or_default();
        let mut proxy = Proxy { at, services: BTreeMap::new() };
        let mut remembered = 0;
        for (id, service) in report.services {
            proxy.services.insert(id.clone(), now(&service, &mut remembered));
            second.count(id, service);
        }
        self.proxies.insert(instance.to_owned(), proxy);
    }

    /// A proxy that is gone has nothing in flight any more; what it has counted stays.
    pub fn forget(&mut self, instance: &str) {
        self.proxies.remove(instance);
    }

    /// How many proxies have told something lately.
    pub fn proxies(&self, at: u64) -> usize {
        self.heard(at).count()
    }

    /// The last `seconds` before the second `at`, which is not over yet.
    pub fn window(&self, at: u64, seconds: u64) -> BTreeMap<ServiceId, Window> {
        let mut windows: BTreeMap<ServiceId, Window> = BTreeMap::new();
        for second in self.seconds.range(at.saturating_sub(seconds)..at).map(|(_, second)| second) {
            for (id, tally) in &second.services {
                let window = windows.entry(id.clone()).or_default();
                window.counts.add(&tally.counts);
                for (replica, counts) in &tally.replicas {
                    window.replicas.entry(replica.clone()).or_default().counts.add(counts);
                }
            }
        }
        for (id, now) in self.heard(at).flat_map(|proxy| &proxy.services) {
            let window = windows.entry(id.clone()).or_default();
            window.in_flight += now.in_flight;
            window.waiting += now.waiting;
            for (replica, in_flight) in &now.replicas {
                window.replicas.entry(replica.clone()).or_default().in_flight += u64::from(*in_flight);
            }
        }
        windows
    }

    fn heard(&self, at: u64) -> impl Iterator<Item = &Proxy> {
        self.proxies.values().filter(move |proxy| proxy.at + SILENT >= at)
    }
}

impl Second {
    fn count(&mut self, id: ServiceId, service: OfService) {
        let tally = self.services.entry(id).or_default();
        // Whoever was sent away got no answer from any replica.
        tally.counts.classes[0] = tally.counts.classes[0].saturating_add(service.turned_away);
        for (replica, endpoint) in service.endpoints {
            tally.counts.add(&endpoint.counts);
            let Some(replica) = replica.filter(|_| endpoint.counts != Counts::default()) else { continue };
            if let Some(known) = tally.replicas.get_mut(&replica) {
                known.add(&endpoint.counts);
            } else if self.replicas < MAX_REPLICAS {
                self.replicas += 1;
                tally.replicas.insert(replica, endpoint.counts);
            }
        }
    }
}

fn now(service: &OfService, remembered: &mut usize) -> Now {
    let mut now = Now { waiting: service.waiting.into(), ..Now::default() };
    for (replica, endpoint) in &service.endpoints {
        now.in_flight += u64::from(endpoint.in_flight);
        let Some(replica) = replica.as_ref().filter(|_| endpoint.in_flight > 0) else { continue };
        if *remembered < MAX_REPLICAS {
            *remembered += 1;
            let known = now.replicas.entry(replica.clone()).or_default();
            *known = known.saturating_add(endpoint.in_flight);
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::super::report::OfEndpoint;
    use super::*;

    fn service(name: &str) -> ServiceId {
        name.parse().unwrap()
    }

    /// So many answers with 200, and so many in flight, of each of these replicas of shop/web.
    fn report(replicas: &[(&str, u32, u32)]) -> Report {
        let endpoints = replicas.iter().map(|(replica, ok, in_flight)| {
            let mut counts = Counts::default();
            counts.classes[2] = *ok;
            counts.latency[3] = *ok;
            (ReplicaId::new(replica).ok(), OfEndpoint { counts, in_flight: *in_flight })
        });
        let web = OfService { endpoints: endpoints.collect(), ..OfService::default() };
        Report { services: vec![(service("shop/web"), web)] }
    }

    fn requests(windows: &BTreeMap<ServiceId, Window>) -> u32 {
        windows.values().flat_map(|window| window.counts.classes).sum()
    }

    #[test]
    fn reports_of_all_proxies_are_added_up() {
        let mut ring = Ring::default();
        ring.add(100, "p1", report(&[("a", 3, 1), ("b", 1, 0)]));
        ring.add(100, "p2", report(&[("a", 4, 2)]));
        let windows = ring.window(101, 10);
        let web = &windows[&service("shop/web")];
        assert_eq!((web.counts.classes[2], web.counts.latency[3], web.in_flight), (8, 8, 3));
        let replica = |name: &str| &web.replicas[&ReplicaId::new(name).unwrap()];
        assert_eq!((replica("a").counts.classes[2], replica("a").in_flight), (7, 3));
        assert_eq!(replica("b").counts.classes[2], 1);
    }

    #[test]
    fn a_window_has_the_seconds_before_the_one_that_is_filling() {
        let mut ring = Ring::default();
        for at in 100..=200 {
            ring.add(at, "p1", report(&[("a", 1, 0)]));
        }
        assert_eq!(requests(&ring.window(200, 10)), 10);
        assert_eq!(requests(&ring.window(200, KEPT)), 60);
        assert_eq!(requests(&ring.window(200, 1_000)), 60, "older ones are gone");
        assert!(ring.seconds.len() <= 61, "{}", ring.seconds.len());
    }

    #[test]
    fn two_reports_in_one_second_count_twice_and_are_in_flight_once() {
        let mut ring = Ring::default();
        ring.add(100, "p1", report(&[("a", 2, 5)]));
        ring.add(100, "p1", report(&[("a", 2, 4)]));
        let windows = ring.window(101, 10);
        assert_eq!((requests(&windows), windows[&service("shop/web")].in_flight), (4, 4));
    }

    #[test]
    fn a_proxy_that_went_away_fades_out() {
        let mut ring = Ring::default();
        ring.add(100, "p1", report(&[("a", 10, 5)]));
        ring.add(100, "p2", report(&[("a", 1, 1)]));
        ring.forget("p2");
        let at = |second| {
            let windows = ring.window(second, 10);
            let web = windows.get(&service("shop/web"));
            (requests(&windows), web.map_or(0, |web| web.in_flight), ring.proxies(second))
        };
        assert_eq!(at(101), (11, 5, 1));
        assert_eq!(at(104), (11, 0, 0), "nobody says any more that anything is in flight");
        assert_eq!(at(111), (0, 0, 0));
    }

    #[test]
    fn whoever_was_sent_away_counts_as_not_answered() {
        let web = OfService { waiting: 2, turned_away: 3, endpoints: Vec::new() };
        let mut ring = Ring::default();
        ring.add(100, "p1", Report { services: vec![(service("shop/web"), web)] });
        let windows = ring.window(101, 10);
        let web = &windows[&service("shop/web")];
        assert_eq!((web.counts.classes[0], web.waiting), (3, 2));
    }

    #[test]
    fn too_many_replicas_count_for_their_service_only() {
        let names: Vec<String> = (0..MAX_REPLICAS + 10).map(|at| format!("r{at}")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1)).collect();
        let mut ring = Ring::default();
        ring.add(100, "p1", report(&all));
        let windows = ring.window(101, 10);
        let web = &windows[&service("shop/web")];
        assert_eq!(web.replicas.len(), MAX_REPLICAS);
        let all = names.len() as u64;
        assert_eq!((u64::from(web.counts.classes[2]), web.in_flight), (all, all));
    }
}
