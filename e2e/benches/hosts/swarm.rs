//! Docker Swarm on the same hosts, as the peer.

use gantry_e2e::{Host, Hosts, eventually};

/// Makes the hosts a swarm of one manager, the first, and workers.
pub fn start(hosts: &Hosts) {
    let mut all = hosts.all();
    let first = all.next().unwrap();
    let own = first.address().to_string();
    first.docker(["swarm", "init", "--advertise-addr", &own]);
    let token = first.docker(["swarm", "join-token", "-q", "worker"]);
    for host in all {
        join(host, &token, first);
    }
}

/// Makes a host a worker, and waits until the manager calls it ready.
pub fn join(host: &Host, token: &str, manager: &Host) {
    let (own, to) = (host.address().to_string(), format!("{}:2377", manager.address()));
    host.docker(["swarm", "join", "--advertise-addr", &own, "--token", token, &to]);
    eventually("the worker is ready", || {
        let said = manager.docker(["node", "ls", "--format", "{{.Hostname}} {{.Status}}"]);
        said.lines().any(|line| line == format!("{} Ready", host.name())).then_some(())
    });
}
