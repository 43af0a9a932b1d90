//! Nodes that come and go.

use std::time::Instant;

use gantry_e2e::{HostCluster, Run, eventually_within};

use crate::world::{PATIENCE, deploy, settles, web};

/// The host that is in no cluster.
const SPARE: u8 = 4;

pub fn nodes_join_by_token(cluster: &HostCluster) {
    let nodes = cluster.nodes();
    assert!(nodes.len() == 3 && nodes.values().all(|ready| *ready), "{nodes:?}");

    // One that joins later, with a token for one; what is to run everywhere runs there too.
    let everywhere = "services: {probe: {image: gantry-e2e/probe, deploy: {mode: global}}}";
    deploy(cluster, "global", everywhere);
    let token = cluster.ok(["token", "--uses", "1"]).trim().to_owned();
    let began = Instant::now();
    cluster.join(SPARE, &token).ok();
    cluster.ready(&[1, 2, 3, SPARE]);
    println!("from gantry join to ready: {:.1} s", began.elapsed().as_secs_f64());
    settles(cluster, "global", 4);
    assert_eq!(cluster.places("global/probe"), ["h1", "h2", "h3", "h4"]);

    // It leaves, and nothing of it or on it is left.
    cluster.ok(["node", "drain", "h4"]);
    cluster.leave(SPARE).ok();
    eventually_within(PATIENCE, "the node is gone", || {
        let nodes = cluster.nodes();
        (!nodes.is_empty() && !nodes.contains_key("h4")).then_some(())
    });
    let host = cluster.host(SPARE);
    assert_eq!(host.docker(["ps", "-aq"]), "");
    assert_eq!(host.docker(["volume", "ls", "-q"]), "");
    let links = Run::of(host.command("ip").args(["-o", "link"])).ok();
    assert!(!links.contains("vxlan") && !links.contains("gt-"), "{links}");
    let rules = Run::of(host.command("nft").args(["list", "tables"])).ok();
    assert!(!rules.contains("gantry"), "{rules}");
    settles(cluster, "global", 3);
}

pub fn a_node_that_must_not_join_is_told_why(cluster: &HostCluster) {
    deploy(cluster, "shop", &web(3));
    let first = cluster.host(1).address();
    let at = |token: &str| format!("{token}@{first}:7070");
    let token = cluster.token();
    // The secret is at the end.
    let wrong = {
        let mut letters: Vec<char> = token.chars().collect();
        let last = letters.last_mut().unwrap();
        *last = if *last == 'a' { 'b' } else { 'a' };
        String::from_iter(letters)
    };
    let used = cluster.ok(["token", "--uses", "1"]).trim().to_owned();
    cluster.join(SPARE, &used).ok();
    cluster.ready(&[SPARE]);
    cluster.leave(SPARE).ok();
    let refused = |to: &str, more: &[&str]| {
        let said = cluster.join_at(SPARE, to, more).fails_with(1);
        assert!(said.starts_with("error: ") && !said.contains("panicked"), "{said}");
        assert_eq!(cluster.host(SPARE).docker(["ps", "-aq"]), "", "nothing is left of it: {said}");
        said.to_lowercase()
    };
    assert!(refused(&at(&wrong), &[]).contains("token"));
    assert!(refused(&at(&used), &[]).contains("token"));
    assert!(refused(&at(&token), &["--node-name", "h2"]).contains("h2"));
    let elsewhere = refused(&format!("{token}@{}:7070", cluster.host(SPARE).address()), &[]);
    assert!(elsewhere.contains("7070"), "{elsewhere}");
    let rotated = cluster.ok(["token", "--rotate"]).trim().to_owned();
    assert!(refused(&at(&token), &[]).contains("token"));

    let mut names: Vec<_> = cluster.nodes().into_keys().collect();
    names.retain(|name| name != "h4");
    assert_eq!(names, ["h1", "h2", "h3"]);
    // The new one is good.
    cluster.join(SPARE, &rotated).ok();
    cluster.ready(&[SPARE]);
    cluster.leave(SPARE).ok();
    settles(cluster, "shop", 3);
}
