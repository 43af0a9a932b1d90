//! One whole decision on a large cluster, on one core: 5,000 nodes and 5,000 services of 30 replicas that wait
//! for their nodes. There is no peer to run here: Nomad's published figure is of a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A bench that cannot be set up has failed.

use std::time::Instant;

use gantry_e2e::{Figure, median, report};
use gantry_model::Timestamp;
use gantry_scheduler::decide::decide;
use gantry_testkit::World;

const NODES: usize = 5_000;
const SERVICES: u32 = 5_000;
const REPLICAS: u32 = 30;
const ROUNDS: usize = 3;

fn main() {
    let world = world();
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let plan = decide(&world.snapshot, world.now);
        seconds.push(begun.elapsed().as_secs_f64());
        let placed = plan.working.replicas.values().filter(|replica| replica.node.is_some()).count();
        assert_eq!(placed, SERVICES as usize * REPLICAS as usize);
    }
    let microseconds = median(seconds) * 1e6 / f64::from(SERVICES * REPLICAS);
    let figure = Figure {
        metric: "a replica made and placed",
        value: microseconds,
        unit: "µs",
        peer: None,
        // 50,000 a second.
        budget: Some(20.0),
    };
    report("placement", &[figure]);
}

/// Nodes in ten zones; a third of the services keeps out of one, a third is spread over them. Replicas have
/// the network of their host: what is measured is the choice of nodes, and not that of addresses.
fn world() -> World {
    let mut world = World::new(Timestamp::from_millis(1_000_000));
    for node in 0..NODES {
        let name = format!("n{node:05}");
        world = world.node(&name).label(&name, "zone", &format!("z{}", node % 10));
    }
    for number in 0..SERVICES {
        world = world.service(&format!("s{:03}/w{number}", number % 100), |service| {
            let service = service.replicas(REPLICAS).host_network().reserve(1_000_000);
            match number % 3 {
                0 => service,
                1 => service.constraint("node.labels.zone != z3"),
                _ => service.spread("node.labels.zone"),
            }
        });
    }
    world
}
