//! A service that must never run twice.

use gantry_e2e::{HostCluster, comes_true};

use crate::world::{PATIENCE, deploy, host_of, settles};

pub fn never_twice(cluster: &HostCluster) {
    let text = "
services:
  ledger:
    image: gantry-e2e/probe
    stop_grace_period: 1s
    deploy: {placement: {constraints: ['node.hostname != h1']}}
    x-gantry: {exclusive: true}
";
    deploy(cluster, "shop", text);
    settles(cluster, "shop", 1);
    let lost = host_of(cluster, "shop/ledger");
    let running = |number: u8| {
        let args = ["ps", "-q", "--filter", "label=gantry.service=shop/ledger"];
        cluster.host(number).docker(args).lines().count()
    };
    lost.cut();
    let mut most = 0;
    comes_true(PATIENCE * 2, "it runs elsewhere", || {
        // The engines' word: also that of the host that nobody hears. The new place first: what runs in the
        // old one later than that ran at the same time.
        let elsewhere: usize = (1..=3).filter(|number| *number != lost.number()).map(running).sum();
        let here = running(lost.number());
        most = most.max(here + elsewhere);
        assert!(most <= 1, "it runs {here} times on {} and {elsewhere} times elsewhere", lost.name());
        let seen = || format!("{here} there, {elsewhere} elsewhere; {}", cluster.run(["why", "shop/ledger"]));
        if elsewhere == 1 { Ok(()) } else { Err(seen()) }
    });
    assert_eq!(most, 1);
    lost.heal();
    cluster.ready(&[1, 2, 3]);
    settles(cluster, "shop", 1);
}
