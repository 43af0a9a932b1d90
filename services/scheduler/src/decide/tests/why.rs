//! What people are told when they ask why.

use super::heal::first;
use super::*;

#[test]
fn what_a_replica_that_fails_wrote_last_is_part_of_why() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service);
    settle(&mut world);
    world.run_all();
    let replica = first(&world, "shop/web");
    world.see(&replica.id, |status| {
        status.phase = gantry_model::Phase::Restarting;
        status.ends = vec![gantry_model::End {
            exit_code: 3,
            last_lines: "one\ntwo\nthree\nfour\n".into(),
            ..gantry_model::End::default()
        }];
    });
    let said = explain(&world.snapshot, &replica);
    assert_eq!(said, ["its last end: exit code 3; it wrote last: two | three | four"]);
    world.see(&replica.id, |status| status.phase = gantry_model::Phase::Running);
    assert_eq!(explain(&world.snapshot, &replica), Vec::<String>::new(), "that is over");
}
