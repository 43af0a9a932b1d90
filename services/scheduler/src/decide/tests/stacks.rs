//! Stacks that go, and services that wait for others.

use super::*;

#[test]
fn a_removed_stack_goes_users_first_and_leaves_its_volumes() {
    let mut world = World::new(NOW)
        .node("n1")
        .service("shop/db", |service| service.volume("data"))
        .service("shop/web", |service| service.depends_on("db", Condition::Started));
    settle(&mut world);
    world.run_all();
    settle(&mut world);
    world.run_all();
    world.remove_stack("shop", false);
    settle(&mut world);
    assert_eq!(goals(&world, "shop/db")[0].2, Goal::Run, "web still needs it");
    for _ in 0..6 {
        world.run_all();
        settle(&mut world);
    }
    assert!(
        world.snapshot.services.is_empty()
            && world.snapshot.stacks.is_empty()
            && world.snapshot.networks.is_empty()
    );
    assert_eq!(world.snapshot.volumes.size(), 1);
}

#[test]
fn a_removed_stack_waits_until_its_volumes_are_gone_where_they_are_to_go() {
    let mut world = World::new(NOW).node("n1").service("shop/db", |service| service.volume("data"));
    settle(&mut world);
    world.run_all();
    world.remove_stack("shop", true);
    for _ in 0..4 {
        settle(&mut world);
        world.run_all();
    }
    let volume = world.snapshot.volumes.values().next().unwrap();
    assert!(volume.removing && world.snapshot.stacks.size() == 1);
    world.forget_volume("shop", "data");
    settle(&mut world);
    assert!(world.snapshot.stacks.is_empty());
}

#[test]
fn a_dependency_holds_a_replica_until_it_is_met() {
    for (condition, reached) in
        [(Condition::Started, "running"), (Condition::Healthy, "healthy"), (Condition::Completed, "done")]
    {
        let mut world = World::new(NOW)
            .node("n1")
            .service("shop/db", |service| match condition {
                Condition::Completed => service.restart(RestartPolicy::No),
                _ => service,
            })
            .service("shop/web", |service| service.depends_on("db", condition));
        settle(&mut world);
        let waiting = world.replicas("shop/web")[0].pending.clone().unwrap_or_default();
        assert!(waiting.starts_with("waits for db to"), "{waiting}");

        let db = world.replicas("shop/db")[0].id.clone();
        match reached {
            "running" => world.see(&db, |status| status.phase = Phase::Running),
            "healthy" => {
                world.see(&db, |status| (status.phase, status.health) = (Phase::Running, Health::Starting));
                settle(&mut world);
                assert!(world.replicas("shop/web")[0].node.is_none());
                world.see(&db, |status| status.health = Health::Healthy);
            }
            _ => world.see(&db, |status| (status.phase, status.exit_code) = (Phase::Exited, Some(0))),
        }
        settle(&mut world);
        assert!(world.replicas("shop/web")[0].node.is_some(), "{condition:?}");
    }
}

#[test]
fn what_agents_check_is_healthy_once_it_passes_and_nothing_else_says_otherwise() {
    for (health, ready, met) in [
        (Health::None, None, false),
        (Health::None, Some(false), false),
        (Health::None, Some(true), true),
        (Health::Starting, Some(true), false),
        (Health::Healthy, Some(false), false),
        (Health::Healthy, Some(true), true),
    ] {
        let mut world = World::new(NOW)
            .node("n1")
            .service("shop/db", |service| service)
            .service("shop/web", |service| service.depends_on("db", Condition::Healthy));
        settle(&mut world);
        let db = world.replicas("shop/db")[0].id.clone();
        world.see(&db, |status| {
            (status.phase, status.health, status.probe_ready) = (Phase::Running, health, ready);
        });
        settle(&mut world);
        assert_eq!(world.replicas("shop/web")[0].node.is_some(), met, "{health:?} {ready:?}");
    }
}

#[test]
fn a_job_that_failed_holds_its_users_and_is_not_run_again() {
    let mut world = World::new(NOW)
        .node("n1")
        .service("shop/migrate", |service| service.restart(RestartPolicy::No))
        .service("shop/web", |service| service.depends_on("migrate", Condition::Completed));
    settle(&mut world);
    let job = world.replicas("shop/migrate")[0].id.clone();
    world.see(&job, |status| (status.phase, status.exit_code) = (Phase::Exited, Some(3)));
    settle(&mut world);
    let reason = world.replicas("shop/web")[0].pending.clone().unwrap();
    assert_eq!(reason, "waits for migrate to complete, but it ended with exit code 3");
    assert_eq!(world.replicas("shop/migrate").len(), 1);
    // Also when the agent has forgotten all about it.
    world.snapshot.statuses = gantry_model::Map::new_sync();
    settle(&mut world);
    assert_eq!(world.replicas("shop/migrate")[0].id, job);
}

#[test]
fn whoever_needs_a_service_that_is_scaled_to_zero_does_not_wait_for_it() {
    let rules = gantry_model::Autoscale { min: 0, max: 3, ..gantry_model::Autoscale::default() };
    for condition in [Condition::Started, Condition::Healthy] {
        let mut world = World::new(NOW)
            .node("n1")
            .service("shop/db", |service| service.replicas(0).autoscale(rules.clone()))
            .service("shop/web", |service| service.depends_on("db", condition));
        settle(&mut world);
        assert!(world.replicas("shop/web")[0].node.is_some(), "{condition:?}");
        assert!(world.replicas("shop/db").is_empty());
    }
}
