//! A ring for each service that has traffic or is scaled by load. Pure.

use std::collections::BTreeMap;

use gantry_model::ServiceId;

use super::Recorded;
use super::point::Point;
use super::ring::{KEPT, Ring};
use super::seen::OfService;
use crate::traffic::Answers;

/// Services that are remembered at most.
pub const MOST: usize = 1_000;
/// A second that is older is not how things are now.
const CURRENT: u64 = 3;

/// What was seen of all services.
#[derive(Debug, Default)]
pub struct Book {
    services: BTreeMap<ServiceId, Entry>,
    /// Whether there was no room for one the last time.
    full: bool,
}

#[derive(Debug)]
struct Entry {
    incarnation: String,
    ring: Ring,
    metrics: Vec<String>,
    /// Since the service is known here.
    answers: Answers,
    /// The last second that it is remembered for.
    used: u64,
}

/// The newest of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    /// The service.
    pub service: ServiceId,
    /// What was seen in the last seconds; `None` where nobody looked.
    pub point: Option<Point>,
    /// What the numbers of its own are called, in the order of the point's.
    pub metrics: Vec<String>,
    /// What was counted since the service is known here.
    pub answers: Answers,
}

impl Book {
    /// Takes what was seen in the second `at`. Whether there was no room for a service, and has been the second
    /// before.
    pub fn take(&mut self, at: u64, seen: impl IntoIterator<Item = OfService>) -> bool {
        let mut full = false;
        for of in seen {
            let is_used = of.is_scaled || of.point.is_used();
            match self.services.get(&of.service) {
                Some(entry) if entry.incarnation == of.incarnation => {}
                Some(_) => {
                    self.services.remove(&of.service);
                }
                None if !is_used => continue,
                None if self.services.len() >= MOST => {
                    full = true;
                    continue;
                }
                None => {}
            }
            let entry = self.services.entry(of.service).or_insert_with(|| Entry::new(of.incarnation));
            entry.answers.add(of.answers);
            if is_used {
                entry.used = at;
            }
            if entry.metrics != of.metrics {
                entry.ring.forget_metrics();
                entry.metrics = of.metrics;
            }
            entry.ring.put(at, of.point);
        }
        !std::mem::replace(&mut self.full, full) && full
    }

    /// Forgets services that are gone, and those of which nobody asked anything in all that is remembered.
    pub fn sweep(&mut self, at: u64, is_there: impl Fn(&ServiceId, &str) -> bool) {
        self.services.retain(|id, entry| entry.used + KEPT > at && is_there(id, &entry.incarnation));
    }

    /// What was seen of a service up to the second `at`, in the second `from` and after it.
    pub fn of(&self, service: &ServiceId, incarnation: &str, from: u64, at: u64) -> Option<Recorded> {
        let entry = self.services.get(service).filter(|entry| entry.incarnation == incarnation)?;
        let points = entry.ring.since(from).map(|(of, point)| (at.saturating_sub(of), point.clone()));
        Some(Recorded { points: points.collect(), metrics: entry.metrics.clone() })
    }

    /// The newest of every service at the second `at`.
    pub fn newest(&self, at: u64) -> Vec<Newest> {
        let newest = self.services.iter().map(|(service, entry)| Newest {
            service: service.clone(),
            point: entry.ring.latest().filter(|(of, _)| of + CURRENT >= at).map(|(_, point)| point.clone()),
            metrics: entry.metrics.clone(),
            answers: entry.answers,
        });
        newest.collect()
    }
}

impl Entry {
    fn new(incarnation: String) -> Self {
        Self { incarnation, ring: Ring::default(), metrics: Vec::new(), answers: Answers::default(), used: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::point::Requests;
    use super::*;

    fn of(name: &str, arrived: u32) -> OfService {
        let requests = Requests { arrived, ..Requests::default() };
        OfService {
            service: name.parse().unwrap(),
            incarnation: "one".into(),
            point: Point { requests: Some(requests), metrics: [1.0].into(), ..Point::default() },
            metrics: vec!["jobs".into()],
            answers: Answers { answered: u64::from(arrived), errors: 1 },
            is_scaled: false,
        }
    }

    fn points(book: &Book, name: &str) -> usize {
        book.of(&name.parse().unwrap(), "one", 0, 9_000).map_or(0, |recorded| recorded.points.len())
    }

    #[test]
    fn a_service_is_remembered_from_its_first_request_until_it_was_idle_for_long() {
        let mut book = Book::default();
        book.take(1_000, [of("shop/web", 0)]);
        assert_eq!(points(&book, "shop/web"), 0);
        book.take(1_001, [of("shop/web", 5)]);
        book.take(1_002, [of("shop/web", 0)]);
        assert_eq!(points(&book, "shop/web"), 2, "also the quiet seconds");
        let newest = book.newest(1_002).remove(0);
        assert_eq!(newest.answers, Answers { answered: 5, errors: 2 });
        assert!(newest.point.is_some() && book.newest(1_006)[0].point.is_none());
        book.sweep(1_900, |_, _| true);
        assert_eq!(points(&book, "shop/web"), 2);
        book.sweep(1_901, |_, _| true);
        assert_eq!(points(&book, "shop/web"), 0);
        let scaled = OfService { is_scaled: true, ..of("shop/web", 0) };
        book.take(1_902, [scaled]);
        assert_eq!(points(&book, "shop/web"), 1);
    }

    #[test]
    fn another_service_of_the_same_name_begins_anew_and_one_that_is_gone_is_forgotten() {
        let mut book = Book::default();
        book.take(1_000, [of("shop/web", 5), of("shop/db", 5)]);
        book.take(1_001, [OfService { incarnation: "two".into(), ..of("shop/web", 7) }]);
        let web = "shop/web".parse().unwrap();
        assert_eq!(book.of(&web, "one", 0, 1_001), None);
        assert_eq!(book.of(&web, "two", 0, 1_001).unwrap().points.len(), 1);
        book.sweep(1_001, |id, _| id.name() == "web");
        assert_eq!(book.newest(1_001).len(), 1);
    }

    #[test]
    fn numbers_of_other_rules_are_not_taken_for_those_of_these() {
        let mut book = Book::default();
        book.take(1_000, [of("shop/web", 5)]);
        book.take(1_001, [OfService { metrics: vec!["mails".into()], ..of("shop/web", 5) }]);
        let recorded = book.of(&"shop/web".parse().unwrap(), "one", 0, 1_001).unwrap();
        assert_eq!(recorded.metrics, ["mails"]);
        let known: Vec<_> = recorded.points.iter().map(|(ago, point)| (*ago, point.metrics.len())).collect();
        assert_eq!(known, [(1, 0), (0, 1)]);
    }

    #[test]
    fn no_more_services_are_remembered_than_there_is_room_for_and_that_is_said_once() {
        let mut book = Book::default();
        let many = |count: usize| (0..count).map(|number| of(&format!("shop/s{number}"), 1));
        assert!(!book.take(1_000, many(MOST)));
        assert!(book.take(1_001, many(MOST + 3)));
        assert!(!book.take(1_002, many(MOST + 3)), "that was said");
        assert_eq!(book.newest(1_002).len(), MOST);
        book.sweep(1_003, |id, _| id.name() != "s0");
        assert!(!book.take(1_003, [of("shop/new", 1)]));
        assert_eq!(points(&book, "shop/new"), 1, "there is room again");
    }
}
