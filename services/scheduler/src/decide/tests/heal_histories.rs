//! Whatever fails and whatever is repaired.

use gantry_model::{RepairKind, ReplicaId};

use super::failover::live_on;
use super::heal::*;
use super::verdicts::quarantine;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever fails and whatever is repaired, whatever people ask meanwhile: goals only move forward, what
    /// is exclusive or pinned is never there twice, nobody is asked for fewer restarts than before, proxies
    /// lead to nothing that is unhealthy, and when all is well every service has what it wants.
    #[test]
    fn whatever_is_repaired_it_converges(steps in prop::collection::vec((0..11_u8, 0..6_usize), 1..40)) {
        let mut world = world(&["n1", "n2", "n3"])
            .proxy("p1")
            .service("s/web", |service| service.replicas(3))
            .service("s/db", |service| service.volume("data"))
            .service("s/one", ServiceBuilder::exclusive)
            .service("s/all", ServiceBuilder::global);
        settle(&mut world);
        world.run_all();
        for (step, which) in steps {
            let before: BTreeMap<_, _> = world.snapshot.replicas.values().map(|one| (one.id.clone(), (one.goal, one.asked_restarts()))).collect();
            let ids: Vec<ReplicaId> = before.keys().cloned().collect();
            let id = &ids[which % ids.len().max(1)];
            match step {
                0 | 1 => fail(&mut world, id),
                2 => world.see(id, |status| status.probe_ready = Some(false)),
                3 => drop(repair(&mut world, id, RepairKind::Restart)),
                4 => drop(repair(&mut world, id, RepairKind::Replace)),
                5 => recover(&mut world, id),
                6 => world.crash_one(which),
                7 => world.change_service("s/web", |service| service.restart_sequence += 1),
                8 => world.revise(["s/web", "s/db", "s/one", "s/all"][which % 4]),
                9 => drop(quarantine(&mut world, ["n1", "n2", "n3"][which % 3], which < 3)),
                _ => { world.run_all(); ack(&mut world); }
            }
            world.pass(Duration::from_millis(700 * which as u64));
            settle(&mut world);
            for (id, (goal, restarts)) in before {
                if let Some(now) = world.snapshot.replicas.get(&id) {
                    prop_assert!(now.goal >= goal && now.asked_restarts() >= restarts, "{now:?}");
                }
            }
            for service in ["s/db", "s/one"] {
                let placed = world.replicas(service).into_iter().filter(|one| one.node.is_some()).count();
                prop_assert!(placed <= 1, "{service} is there {placed} times");
            }
            let table = table(&world.snapshot, world.snapshot.nodes.keys().next().unwrap());
            for endpoint in table.addresses.iter().flat_map(|address| &address.groups).flat_map(|group| &group.endpoints) {
                let id: ReplicaId = endpoint.replica_id.parse().unwrap();
                let status = world.snapshot.status_of(&id).unwrap();
                prop_assert!(status.phase == Phase::Running && status.health != Health::Unhealthy, "{status:?}");
                prop_assert!(world.snapshot.replicas[&id].goal == Goal::Run);
            }
        }
        for _ in 0..4 {
            recover_all(&mut world);
            live_on(&mut world);
        }
        drop(["n1", "n2", "n3"].map(|node| quarantine(&mut world, node, false)));
        live_on(&mut world);
        for service in world.snapshot.services.values() {
            let replicas: Vec<_> = world.snapshot.replicas_of(&service.id).collect();
            let slots: Vec<_> = replicas.iter().map(|replica| replica.slot).collect();
            prop_assert_eq!(slots, service.slots(), "{}: {:#?}", service.id, replicas);
            for replica in replicas {
                prop_assert!(
                    replica.goal == Goal::Run && replica.revision == service.revision && replica.repair.is_none()
                        && world.snapshot.takes_traffic(replica),
                    "{replica:#?}"
                );
            }
        }
    }
}
