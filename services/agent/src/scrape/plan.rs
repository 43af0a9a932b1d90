//! Who is asked for what. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gantry_api::node::v1::Scrape;
use gantry_model::{Goal, Phase, ReplicaId, ReplicaStatus, Selector};

use crate::managed::Assignment;
use crate::probes::address;

/// Scrapes that one agent takes at most.
const MOST: usize = 256;

/// One place where a replica tells numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The replica.
    pub replica: ReplicaId,
    /// Where it is reached.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The path.
    pub path: String,
    /// What is looked for in the answer; at least one.
    pub wanted: Vec<Wanted>,
}

/// One number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What the scheduler calls it.
    pub id: String,
    /// The series that are meant.
    pub selector: Selector,
}

/// The places where replicas that run are asked. What cannot be read of a scrape is left out: the scheduler has
/// checked it, so it is of another version.
pub fn plan(
    scrapes: &[Scrape],
    assignments: &BTreeMap<ReplicaId, Assignment>,
    statuses: &BTreeMap<ReplicaId, ReplicaStatus>,
) -> Vec<Place> {
    let mut services: BTreeMap<&str, Vec<(u16, &str, Wanted)>> = BTreeMap::new();
    for scrape in scrapes.iter().take(MOST) {
        let (Ok(port), Ok(selector)) = (u16::try_from(scrape.port), Selector::parse(&scrape.metric)) else {
            continue;
        };
        let wanted = Wanted { id: scrape.id.clone(), selector };
        services.entry(&scrape.service).or_default().push((port, &scrape.path, wanted));
    }
    let runs = |assignment: &&Assignment| {
        let status = statuses.get(&assignment.replica);
        assignment.goal == Goal::Run && status.is_some_and(|status| status.phase == Phase::Running)
    };
    let mut places: BTreeMap<(&ReplicaId, u16, &str), Place> = BTreeMap::new();
    for assignment in assignments.values().filter(runs) {
        let Some(wanted) = services.get(assignment.service.to_string().as_str()) else { continue };
        let Some(address) = address(assignment) else { continue };
        for (port, path, wanted) in wanted {
            let place = places.entry((&assignment.replica, *port, path)).or_insert_with(|| Place {
                replica: assignment.replica.clone(),
                address,
                port: *port,
                path: (*path).to_owned(),
                wanted: Vec::new(),
            });
            place.wanted.push(wanted.clone());
        }
    }
    places.into_values().collect()
}

#[cfg(test)]
mod tests {
    use gantry_model::NetworkMode;

    use super::*;
    use crate::probes::assignment;

    fn scrape(metric: &str, port: u32) -> Scrape {
        Scrape {
            id: format!("{metric}@{port}"),
            service: "s/web".into(),
            port,
            path: "/metrics".into(),
            metric: metric.into(),
        }
    }

    fn planned(scrapes: &[Scrape], assignment: &Assignment, phase: Phase) -> Vec<Place> {
        let status = ReplicaStatus { phase, ..ReplicaStatus::default() };
        let statuses = [(assignment.replica.clone(), status)].into();
        plan(scrapes, &[(assignment.replica.clone(), assignment.clone())].into(), &statuses)
    }

    #[test]
    fn a_place_is_asked_once_for_all_that_is_wanted_of_it() {
        let scrapes = [scrape("jobs", 80), scrape("mails", 80), scrape("jobs", 81)];
        let places = planned(&scrapes, &assignment(), Phase::Running);
        let seen: Vec<_> = places.iter().map(|place| (place.port, place.wanted.len())).collect();
        assert_eq!(seen, [(80, 2), (81, 1)]);
        assert_eq!(places[0].address, "10.1.2.3".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn only_replicas_that_run_and_are_reached_are_asked() {
        let scrapes = [scrape("jobs", 80)];
        assert!(planned(&scrapes, &assignment(), Phase::Exited).is_empty());
        let draining = Assignment { goal: Goal::Drain, ..assignment() };
        assert!(planned(&scrapes, &draining, Phase::Running).is_empty());
        let mut alone = assignment();
        alone.container.network_mode = NetworkMode::None;
        assert!(planned(&scrapes, &alone, Phase::Running).is_empty());
        let other = Scrape { service: "shop/db".into(), ..scrape("jobs", 80) };
        assert!(planned(&[other], &assignment(), Phase::Running).is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let scrapes = [scrape("jobs{", 80), scrape("jobs", 70_000), scrape("mails", 80)];
        let places = planned(&scrapes, &assignment(), Phase::Running);
        assert_eq!((places.len(), places[0].wanted[0].id.as_str()), (1, "mails@80"));
    }
}
