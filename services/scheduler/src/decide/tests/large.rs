//! Large clusters: the same rules. How fast they are is measured by the bench `placement`.

use gantry_model::{Change, Goal, Record, Replica, ReplicaId};

use super::super::place;
use super::*;

/// A cluster of that many nodes in ten zones.
fn cluster(nodes: usize) -> World {
    let mut world = World::new(NOW);
    for node in 0..nodes {
        let name = format!("n{node:05}");
        world = world.node(&name).label(&name, "zone", &format!("z{}", node % 10));
    }
    world
}

/// Replicas of as many services as it takes, which wait for their nodes. They have the network of their
/// host: what is measured is the choice of nodes, and not that of addresses.
fn waiting(mut world: World, services: u32, replicas: u32) -> World {
    for number in 0..services {
        world = world.service(&format!("s{:03}/w{number}", number % 100), |service| {
            let service = service.replicas(replicas).host_network().reserve(1_000_000);
            match number % 3 {
                0 => service,
                1 => service.constraint("node.labels.zone != z3"),
                _ => service.spread("node.labels.zone"),
            }
        });
    }
    let services: Vec<_> = world.snapshot.services.values().cloned().collect();
    let mut changes = Vec::new();
    for service in services {
        for slot in 1..=replicas {
            changes.push(Change::Put(Record::Replica(std::sync::Arc::new(Replica {
                id: ReplicaId::new(format!("{:08x}", changes.len())).unwrap(),
                service: service.id.clone(),
                slot,
                revision: 1,
                goal: Goal::Run,
                node: None,
                addresses: BTreeMap::new(),
                restart_sequence: 0,
                pending: None,
                drain: None,
                pause: None,
                leave: false,
                repairs: 0,
                repair: None,
                outcome: None,
                created_at: NOW,
            }))));
        }
    }
    world.commit(&changes);
    world
}

#[test]
fn a_thousand_replicas_lie_evenly_on_many_nodes() {
    let world = waiting(cluster(100), 50, 20);
    let mut plan = Plan::new(&world.snapshot, world.now);
    place::place(&mut plan);
    let counts: Vec<_> =
        plan.working.nodes.keys().map(|node| plan.working.replicas_on(node).count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 1_000);
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= 2, "{counts:?}");
}
