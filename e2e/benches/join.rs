//! A host joins: from `gantry join` to a node that is ready, beside `docker swarm join` on the same host, in
//! turns. Ours starts an agent and a proxy there, theirs is in the engine already: it has no budget.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A bench that cannot be set up has failed.

#[path = "hosts/swarm.rs"]
#[allow(dead_code)] // The other bench needs the rest.
mod swarm;

use std::time::{Duration, Instant};

use gantry_e2e::{Figure, HostCluster, eventually_within, median, report};

const ROUNDS: usize = 3;
/// The host that comes and goes.
const NEW: u8 = 3;

fn main() {
    let cluster = HostCluster::start_with_spares(2, 1);
    let (first, new) = (cluster.host(1), cluster.host(NEW));
    first.docker(["swarm", "init", "--advertise-addr", &first.address().to_string()]);
    let token = first.docker(["swarm", "join-token", "-q", "worker"]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let invitation = cluster.invite(&[]);
        ours.push(timed(|| {
            cluster.join(NEW, &invitation, &[]).ok();
            cluster.ready(&[NEW]);
        }));
        cluster.leave(NEW).ok();
        theirs.push(timed(|| swarm::join(new, &token, first)));
        new.docker(["swarm", "leave"]);
        eventually_within(Duration::from_mins(1), "the manager knows", || {
            let said = first.docker(["node", "ls", "--format", "{{.Hostname}} {{.Status}}"]);
            let down = format!("{} Down", new.name());
            said.lines().any(|line| line == down).then(|| first.docker(["node", "rm", &new.name()]))
        });
    }
    report(
        "join",
        &[Figure {
            metric: "gantry join → node ready",
            value: median(ours),
            unit: "s",
            peer: Some(("docker swarm join", median(theirs))),
            budget: None,
        }],
    );
}

fn timed(act: impl FnOnce()) -> f64 {
    let began = Instant::now();
    act();
    began.elapsed().as_secs_f64()
}
