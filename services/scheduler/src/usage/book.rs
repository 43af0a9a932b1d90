//! A ring for each replica, and the newest values of users' own metrics. Pure.

use std::collections::{BTreeMap, HashMap};

use gantry_model::{ReplicaId, ServiceId};

use super::report::{Reading, Report};
use super::ring::{Point, Ring};

/// Replicas that are remembered at most; the others are not measured.
pub const MOST: usize = 10_000;
/// Scrapes of one replica that are remembered at most.
const SCRAPES: usize = 64;
/// How many seconds pass between two looks for replicas that are gone.
const SWEEP_AGAIN: u64 = 10;

/// What all replicas have used.
#[derive(Debug, Default)]
pub struct Book {
    replicas: HashMap<ReplicaId, Entry>,
    swept: u64,
}

#[derive(Debug)]
struct Entry {
    service: ServiceId,
    ring: Ring,
    /// By the id of the scrape: what came of it, and when.
    metrics: BTreeMap<String, (Reading, u64)>,
}

impl Book {
    /// Takes what came in the second `at`.
    pub fn take(&mut self, at: u64, report: Report) {
        for of in report.replicas {
            let full = self.replicas.len() >= MOST;
            let entry = match self.replicas.get_mut(&of.replica) {
                Some(entry) => entry,
                None if full => continue,
                None => self.replicas.entry(of.replica).or_insert_with(|| Entry {
                    service: of.service,
                    ring: Ring::default(),
                    metrics: BTreeMap::new(),
                }),
            };
            entry.ring.put(at, of.cpu_microcores, of.memory_bytes);
        }
        for (replica, scrape, value) in report.metrics {
            let Some(entry) = self.replicas.get_mut(&replica) else { continue };
            if entry.metrics.len() < SCRAPES || entry.metrics.contains_key(&scrape) {
                entry.metrics.insert(scrape, (value, at));
            }
        }
    }

    /// Forgets replicas that are gone, now and then.
    pub fn sweep(&mut self, at: u64, is_there: impl Fn(&ReplicaId) -> bool) {
        if at < self.swept + SWEEP_AGAIN {
            return;
        }
        self.swept = at;
        self.replicas.retain(|replica, entry| {
            // Scrapes that nobody wants any more bring no values.
            entry.metrics.retain(|_, (_, came)| *came + SWEEP_AGAIN >= at);
            is_there(replica)
        });
    }

    /// The newest second of a replica, and what was used in it.
    pub fn latest(&self, replica: &ReplicaId) -> Option<(u64, Point)> {
        self.replicas.get(replica)?.ring.latest()
    }

    /// The newest second of every replica, and what was used in it.
    pub fn all_latest(&self) -> Vec<(ReplicaId, u64, Point)> {
        let latest = self.replicas.iter().filter_map(|(replica, entry)| {
            let (at, point) = entry.ring.latest()?;
            Some((replica.clone(), at, point))
        });
        latest.collect()
    }

    /// What a replica used in the second `from` and after it, oldest first.
    pub fn history(&self, replica: &ReplicaId, from: u64) -> Vec<(u64, Point)> {
        self.replicas.get(replica).map(|entry| entry.ring.since(from).collect()).unwrap_or_default()
    }

    /// What the replicas of a service gave for a scrape in the second `from` or after it: the sum, of how many,
    /// and the second of the oldest.
    pub fn metric(&self, service: &ServiceId, scrape: &str, from: u64) -> Option<(f64, usize, u64)> {
        let of_service = self.replicas.values().filter(|entry| entry.service == *service);
        let readings = of_service.filter_map(|entry| entry.metrics.get(scrape)).filter(|(_, at)| *at >= from);
        let values = readings.filter_map(|(reading, at)| Some((reading.as_ref().ok()?, *at)));
        values.fold(None, |sum, (value, at)| {
            let (all, count, oldest) = sum.unwrap_or((0.0, 0, at));
            Some((all + value, count + 1, oldest.min(at)))
        })
    }

    /// Why one of the replicas of a service that count gave no value for a scrape in the second `from` or after
    /// it; `None` if all did, or nobody was asked.
    pub fn metric_problem(
        &self,
        service: &ServiceId,
        scrape: &str,
        from: u64,
        counts: impl Fn(&ReplicaId) -> bool,
    ) -> Option<String> {
        let of_service = self.replicas.iter().filter(|(id, entry)| entry.service == *service && counts(id));
        let readings = of_service.filter_map(|(_, entry)| entry.metrics.get(scrape));
        let mut readings = readings.filter(|(_, at)| *at >= from);
        readings.find_map(|(reading, _)| reading.as_ref().err().cloned())
    }

    /// Whether a replica gave a value for a scrape in the second `from` or after it.
    pub fn has_told(&self, replica: &ReplicaId, scrape: &str, from: u64) -> bool {
        let reading = self.replicas.get(replica).and_then(|entry| entry.metrics.get(scrape));
        reading.is_some_and(|(reading, at)| *at >= from && reading.is_ok())
    }

    /// How many replicas are remembered.
    pub fn len(&self) -> usize {
        self.replicas.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::OfReplica;
    use super::*;

    fn id(number: usize) -> ReplicaId {
        ReplicaId::new(format!("r{number}")).unwrap()
    }

    fn report(numbers: std::ops::Range<usize>) -> Report {
        let replicas = numbers.clone().map(|number| OfReplica {
            replica: id(number),
            service: "shop/web".parse().unwrap(),
            cpu_microcores: Some(1),
            memory_bytes: Some(1 << 10),
        });
        let metrics = numbers.map(|number| (id(number), "jobs".to_owned(), Ok(1.0)));
        Report { replicas: replicas.collect(), metrics: metrics.collect() }
    }

    #[test]
    fn no_more_replicas_are_remembered_than_there_is_room_for() {
        let mut book = Book::default();
        book.take(1_000, report(0..MOST + 10));
        assert_eq!(book.len(), MOST);
        assert!(book.latest(&id(0)).is_some() && book.latest(&id(MOST + 5)).is_none());
        book.sweep(1_010, |replica| *replica != id(0));
        book.take(1_010, report(MOST + 5..MOST + 6));
        assert!(book.latest(&id(MOST + 5)).is_some(), "there is room again");
    }

    #[test]
    fn gone_replicas_are_not_looked_for_each_second() {
        let mut book = Book::default();
        book.take(1_000, report(0..2));
        book.sweep(1_000, |_| true);
        book.sweep(1_009, |_| false);
        assert_eq!(book.len(), 2);
        book.sweep(1_010, |_| false);
        assert!(book.is_empty());
    }

    #[test]
    fn scrapes_are_bounded_and_old_ones_make_room() {
        let mut book = Book::default();
        book.take(1_000, report(0..1));
        let many = (0..SCRAPES * 2).map(|number| (id(0), format!("s{number:04}"), Ok(1.0))).collect();
        book.take(1_000, Report { replicas: Vec::new(), metrics: many });
        assert_eq!(book.replicas[&id(0)].metrics.len(), SCRAPES);
        book.sweep(1_011, |_| true);
        assert!(book.replicas[&id(0)].metrics.is_empty());
        // A value of a replica that was never measured has nowhere to go.
        book.take(1_012, Report { replicas: Vec::new(), metrics: vec![(id(9), "jobs".into(), Ok(1.0))] });
        assert_eq!(book.metric(&"shop/web".parse().unwrap(), "jobs", 0), None);
    }

    #[test]
    fn a_metric_is_as_old_as_the_oldest_value_in_it() {
        let mut book = Book::default();
        let web = "shop/web".parse().unwrap();
        book.take(1_000, report(0..1));
        book.take(1_002, report(1..3));
        assert_eq!(book.metric(&web, "jobs", 1_000), Some((3.0, 3, 1_000)));
        assert_eq!(book.metric(&web, "jobs", 1_001), Some((2.0, 2, 1_002)));
        assert_eq!(book.metric(&"shop/db".parse().unwrap(), "jobs", 0), None);
    }

    #[test]
    fn a_replica_that_gave_no_value_is_left_out_of_the_sum_and_says_why() {
        let mut book = Book::default();
        let web = "shop/web".parse().unwrap();
        book.take(1_000, report(0..2));
        assert_eq!(book.metric_problem(&web, "jobs", 0, |_| true), None);
        let refused = vec![(id(0), "jobs".into(), Err("connection refused".into()))];
        book.take(1_001, Report { replicas: Vec::new(), metrics: refused });
        assert_eq!(book.metric(&web, "jobs", 0), Some((1.0, 1, 1_000)));
        assert_eq!(book.metric_problem(&web, "jobs", 0, |_| true).as_deref(), Some("connection refused"));
        assert_eq!(book.metric_problem(&web, "jobs", 0, |replica| *replica != id(0)), None);
        assert_eq!(book.metric_problem(&web, "jobs", 1_002, |_| true), None, "that was long ago");
    }
}
