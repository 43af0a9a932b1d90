//! `circuit-open` from the judge's own standing: one alert from the first trouble to the last.

use gantry_api::cluster::v1::Service;
use gantry_feed::Mirror;

use super::*;
use crate::alerts::facts::Health;
use crate::decide::sample::{World, at};
use crate::decide::{Outlook, outlook};
use crate::memory::Memory;
use crate::verdict::Conclusion;
use crate::world::Condition::{Healthy, Restarting, Starting, Unhealthy};

const START_PERIOD: u64 = 20;
/// Three failed checks, five seconds apart.
const CHECKS: u64 = 15;

/// The alerts of `circuit-open`, from look to look.
#[derive(Default)]
struct Alerts {
    memory: AlertMemory,
    notices: Vec<(u64, &'static str)>,
}

impl Alerts {
    fn look(&mut self, found: &Outlook, seconds: u64) {
        let service = Service { name: "s/web".into(), wanted: 5, ready: 5, ..Service::default() };
        let services = [("s/web".to_owned(), service)].into();
        let mirror = Mirror { revision: 1, services, ..Mirror::default() };
        let facts = Facts::gather(&mirror, Health { found: Some(found), ..Health::NONE }, None, at(seconds));
        for change in evaluate(&facts, &AlertConfig::default(), &self.memory, at(seconds)) {
            self.memory.take(&change);
            match change {
                AlertChange::Began(finding) => {
                    assert_eq!(finding.of.rule, "circuit-open");
                    assert!(finding.summary.starts_with("3 of 5 replicas are in trouble"), "{finding:?}");
                    self.notices.push((seconds, "began"));
                }
                AlertChange::Ended(_) => self.notices.push((seconds, "ended")),
                _ => {}
            }
        }
    }
}

fn world() -> World {
    World::new().node("n1").service("s/web", 5, &["n1"])
}

#[test]
fn an_open_circuit_is_one_alert_however_long_a_trial_takes_to_start_and_to_fail() {
    let (mut world, mut memory, mut alerts) = (world(), Memory::default(), Alerts::default());
    for slot in 1..=3 {
        world.condition("s/web", slot, Unhealthy, 5);
    }
    let (mut trials, mut fewer, mut longest) = (Vec::new(), 0, 0);
    for second in 5..400 {
        for (slot, began) in &trials {
            if second == began + START_PERIOD + CHECKS {
                world.condition("s/web", *slot, Unhealthy, second);
            } else if second == began + START_PERIOD + CHECKS + 2 {
                world.case("s/web", *slot).in_repair = false;
            }
        }
        let found = outlook(&world.snapshot, &memory, at(second));
        memory.settle(&world.snapshot, &found.standing, at(second));
        alerts.look(&found, second);
        for verdict in &found.verdicts {
            memory.sent(verdict, at(second));
            let Conclusion::Repair { replica, kind } = &verdict.conclusion else { continue };
            let slot = world.snapshot.cases[replica].slot;
            world.repaired("s/web", slot, *kind, second, verdict.reason);
            world.condition("s/web", slot, Starting, second);
            world.case("s/web", slot).in_repair = true;
            trials.push((slot, second));
        }
        let unhealthy = world.snapshot.cases.values().filter(|case| case.condition == Unhealthy).count();
        fewer = if unhealthy < 3 { fewer + 1 } else { 0 };
        longest = longest.max(fewer);
    }
    assert!(trials.len() >= 4, "{trials:?}");
    assert!(longest > RESOLVE_AFTER.as_secs(), "fewer than three were unhealthy for {longest} s");
    assert_eq!(alerts.notices, [(5, "began")]);

    for slot in 1..=3 {
        world.condition("s/web", slot, Healthy, 400);
        world.case("s/web", slot).in_repair = false;
    }
    for second in 400..1_200 {
        let found = outlook(&world.snapshot, &memory, at(second));
        memory.settle(&world.snapshot, &found.standing, at(second));
        alerts.look(&found, second);
    }
    assert_eq!(alerts.notices.len(), 2, "{:?}", alerts.notices);
    assert_eq!(alerts.notices[1].1, "ended");
}

#[test]
fn most_replicas_in_a_crash_loop_open_the_circuit_and_people_are_told() {
    let (mut world, mut alerts) = (world(), Alerts::default());
    for slot in 1..=3 {
        world.condition("s/web", slot, Restarting, 5);
    }
    alerts.look(&outlook(&world.snapshot, &Memory::default(), at(6)), 6);
    assert_eq!(alerts.notices, [(6, "began")]);
    // While nothing is judged, nothing is over.
    for second in 7..60 {
        alerts.look(&Outlook::default(), second);
    }
    assert_eq!(alerts.notices.len(), 1);
}
