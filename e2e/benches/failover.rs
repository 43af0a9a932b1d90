//! A host is cut off: from the cable pulled to all replicas running on the other two, beside Docker Swarm on
//! the same hosts, in turns. What runs is what the engines say, for both.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A bench that cannot be set up has failed.

#[path = "hosts/swarm.rs"]
#[allow(dead_code)] // The other bench needs the rest.
mod swarm;

use std::time::{Duration, Instant};

use gantry_e2e::{Figure, HostCluster, Hosts, eventually_within, median, report};

const REPLICAS: usize = 6;
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_mins(2);
/// The host that is cut off; the first has scheduler and manager.
const LOST: u8 = 3;
const OURS: &str = "gantry.service=bench/web";
const THEIRS: &str = "com.docker.swarm.service.name=web";

fn main() {
    let cluster = HostCluster::start(3);
    let hosts = cluster.hosts();
    swarm::start(hosts);
    let file = cluster.file(
        "bench",
        &format!("services: {{web: {{image: gantry-e2e/probe, deploy: {{replicas: {REPLICAS}}}}}}}"),
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        cluster.ready(&[1, 2, LOST]);
        cluster.ok(["up", "-p", "bench", "-f", &file]);
        ours.push(fail_over(hosts, OURS));
        cluster.ready(&[1, 2, LOST]);
        cluster.ok(["down", "bench"]);
        gone(hosts, OURS);

        // The same cut took its node away too.
        eventually_within(PATIENCE, "the swarm has its node again", || {
            let said = hosts.host(1).docker(["node", "ls", "--format", "{{.Status}}"]);
            said.lines().all(|status| status == "Ready").then_some(())
        });
        // It has no IPVS here; and without a registry to ask it need not wait for one.
        let count = REPLICAS.to_string();
        let service =
            ["service", "create", "-d", "--name", "web", "--endpoint-mode", "dnsrr", "--no-resolve-image"];
        let service = service.into_iter().chain(["--replicas", &count, "gantry-e2e/probe"]);
        hosts.host(1).docker(service);
        theirs.push(fail_over(hosts, THEIRS));
        hosts.host(1).docker(["service", "rm", "web"]);
        gone(hosts, THEIRS);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let figure = |peer, budget| Figure {
        metric: "host cut off → all running elsewhere",
        value: ours,
        unit: "s",
        peer,
        budget: Some(budget),
    };
    report("failover", &[figure(Some(("Docker Swarm", theirs)), 0.5), figure(None, 8.0)]);
}

/// How many containers with a label run on a host.
fn running(hosts: &Hosts, number: u8, label: &str) -> usize {
    let filter = format!("label={label}");
    hosts.host(number).docker(["ps", "-q", "--filter", &filter]).lines().count()
}

/// Seconds from the cable pulled to all replicas running elsewhere.
fn fail_over(hosts: &Hosts, label: &str) -> f64 {
    eventually_within(PATIENCE, "all run, also on the host that is cut off", || {
        let counts = [1, 2, LOST].map(|number| running(hosts, number, label));
        (counts.iter().sum::<usize>() == REPLICAS && counts[2] > 0).then_some(())
    });
    let began = Instant::now();
    hosts.host(LOST).cut();
    eventually_within(PATIENCE, "all run elsewhere", || {
        (running(hosts, 1, label) + running(hosts, 2, label) >= REPLICAS).then_some(())
    });
    let took = began.elapsed().as_secs_f64();
    hosts.mend();
    took
}

fn gone(hosts: &Hosts, label: &str) {
    eventually_within(PATIENCE, "nothing of it is left", || {
        [1, 2, LOST].iter().all(|number| running(hosts, *number, label) == 0).then_some(())
    });
}
