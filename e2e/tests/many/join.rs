//! Nodes that come and go.

use std::time::Instant;

use gantry_e2e::{Client, HostCluster, Run, eventually_within};

use crate::world::{PATIENCE, deploy, settles, web, while_the_scheduler_is_killed};

/// The host that is in no cluster.
const SPARE: u8 = 4;

pub fn nodes_join_by_token(cluster: &HostCluster) {
    let nodes = cluster.nodes();
    assert!(nodes.len() == 3 && nodes.values().all(|ready| *ready), "{nodes:?}");

    // One that joins later, with a token for one; what is to run everywhere runs there too.
    let everywhere = "services: {probe: {image: gantry-e2e/probe, deploy: {mode: global}}}";
    deploy(cluster, "global", everywhere);
    let invitation = cluster.invite(&["--uses", "1"]);
    let began = Instant::now();
    cluster.join(SPARE, &invitation, &[]).ok();
    cluster.ready(&[1, 2, 3, SPARE]);
    println!("from gantry join to ready: {:.1} s", began.elapsed().as_secs_f64());
    settles(cluster, "global", 4);
    assert_eq!(cluster.places("global/probe"), ["h1", "h2", "h3", "h4"]);

    // It leaves, and nothing of it or on it is left.
    cluster.ok(["node", "drain", "h4"]);
    cluster.leave(SPARE).ok();
    gone(cluster);
    let host = cluster.host(SPARE);
    assert_eq!(host.docker(["ps", "-aq"]), "");
    assert_eq!(host.docker(["volume", "ls", "-q"]), "");
    let links = Run::of(host.command("ip").args(["-o", "link"])).ok();
    assert!(!links.contains("vxlan") && !links.contains("gt-"), "{links}");
    let rules = Run::of(host.command("nft").args(["list", "tables"])).ok();
    assert!(!rules.contains("gantry"), "{rules}");
    settles(cluster, "global", 3);

    // A scheduler that is killed meanwhile costs at most a second try, with the same token.
    let invitation = cluster.invite(&[]);
    let run = while_the_scheduler_is_killed(cluster, || cluster.join(SPARE, &invitation, &[]));
    if run.code != Some(0) {
        cluster.ready(&[1, 2, 3]);
        cluster.join(SPARE, &invitation, &[]).ok();
    }
    cluster.ready(&[1, 2, 3, SPARE]);
    settles(cluster, "global", 4);
    cluster.leave(SPARE).ok();
    gone(cluster);
}

pub fn a_node_that_must_not_join_is_told_why(cluster: &HostCluster) {
    deploy(cluster, "shop", &web(3));
    let good = cluster.invite(&[]);
    let (token, address) = good.split_once('@').unwrap();
    let host = cluster.host(SPARE);
    let refused = |invitation: &str, more: &[&str]| {
        let run = cluster.join(SPARE, invitation, more);
        assert!(run.code.is_some_and(|code| code != 0), "{run}");
        let said = run.stderr;
        assert!(said.contains("error: ") && !said.contains("panicked"), "{said}");
        assert_eq!(host.docker(["ps", "-aq"]), "", "nothing is left of it: {said}");
        said.to_lowercase()
    };

    // A secret that is not the token's: its last letter is another one.
    let (start, last) = token.split_at(token.len() - 1);
    let wrong = format!("{start}{}@{address}", if last == "a" { "b" } else { "a" });
    assert!(refused(&wrong, &[]).contains("token"));
    // One that was used as often as it may be.
    let once = cluster.invite(&["--uses", "1"]);
    join_and_leave(cluster, &once);
    assert!(refused(&once, &[]).contains("token"));
    // The name of another node.
    assert!(refused(&good, &["--node-name", "h2"]).contains("h2"));
    // An address at which nobody is.
    assert!(refused(&format!("{token}@{}:7070", host.address()), &[]).contains("7070"));
    // One that was voided. The new one is good.
    let rotated = cluster.invite(&["--rotate"]);
    assert!(refused(&good, &[]).contains("token"));
    join_and_leave(cluster, &rotated);

    // Another cluster's: no node changes sides by accident, and the scheduler is not who it says.
    let stranger = Client::here();
    let (engine, own) = (host.docker_host(), host.address().to_string());
    stranger.ok(["init", "--docker-host", &engine, "--advertise-addr", &own, "--node-name", "other"]);
    let foreign = stranger.ok(["token", "--quiet"]).trim().to_owned();
    let said = cluster.join(2, &foreign, &[]).fails_with(1);
    assert!(said.contains("another cluster"), "{said}");
    stranger.ok(["leave", "--force", "--volumes", "--docker-host", &engine]);
    let foreign = format!("{}@{address}", foreign.split('@').next().unwrap());
    refused(&foreign, &[]);

    assert_eq!(cluster.nodes().into_keys().collect::<Vec<_>>(), ["h1", "h2", "h3"]);
    settles(cluster, "shop", 3);
}

fn join_and_leave(cluster: &HostCluster, invitation: &str) {
    cluster.join(SPARE, invitation, &[]).ok();
    cluster.ready(&[SPARE]);
    cluster.leave(SPARE).ok();
    gone(cluster);
}

fn gone(cluster: &HostCluster) {
    eventually_within(PATIENCE, "the node is gone", || {
        let nodes = cluster.nodes();
        (!nodes.is_empty() && !nodes.contains_key("h4")).then_some(())
    });
}
