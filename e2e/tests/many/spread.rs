//! A stack over three hosts.

use std::collections::BTreeSet;

use gantry_e2e::HostCluster;

use crate::world::{PORT, deploy, page, serve, settles, web, while_the_scheduler_is_killed};

fn shop() -> String {
    format!(
        r#"
services:
  web:
    image: gantry-e2e/probe
    ports: ["{PORT}:8080"]
    depends_on: {{db: {{condition: service_healthy}}, worker: {{condition: service_started}}}}
  worker:
    image: gantry-e2e/probe
    depends_on: {{db: {{condition: service_healthy}}}}
  db:
    image: gantry-e2e/probe
    healthcheck: {{test: ["CMD", "/probe", "check", "127.0.0.1:8080"], interval: 2s, retries: 20}}
"#
    )
}

pub fn services_find_each_other(cluster: &HostCluster) {
    deploy(cluster, "shop", &shop());
    settles(cluster, "shop", 3);
    let replicas = cluster.replicas("shop");
    let of = |name: &str| {
        let full = format!("shop/{name}");
        replicas.iter().find(|replica| replica["service"] == full.as_str()).unwrap()
    };
    let nodes: BTreeSet<_> = replicas.iter().filter_map(|replica| replica["node"].as_str()).collect();
    assert_eq!(nodes.len(), 3, "each on a host of its own: {replicas:#?}");

    // The dependants were started when the database, on another host, was healthy: its first check ends
    // two seconds after its start. All hosts have this machine's clock.
    let started = |name: &str| {
        let replica = of(name);
        let node = replica["node"].as_str().unwrap();
        let host = cluster.hosts().all().find(|host| host.name() == node).unwrap();
        let container = replica["container"].as_str().unwrap();
        let said = host.docker(["inspect", "-f", "{{.State.StartedAt}}", container]);
        let checked = "{{with .State.Health}}{{(index .Log 0).End}}{{end}}";
        (said, host.docker(["inspect", "-f", checked, container]))
    };
    let (began, healthy) = started("db");
    // `2026-01-31 12:00:01.5 +0000 UTC` against `2026-01-31T12:00:01.5Z`.
    let healthy = healthy.replacen(' ', "T", 1);
    let (worker, web) = (started("worker").0, started("web").0);
    assert!(began < worker && healthy[..19] <= worker[..19], "{began} {healthy} {worker}");
    assert!(worker <= web, "{worker} {web}");

    // From any host, by name, and back.
    for host in 1..=3 {
        let host = cluster.host(host);
        assert_eq!(page(host, "/").unwrap().trim().len(), 12, "its host name");
        for other in ["worker", "db", "db.shop"] {
            assert_eq!(page(host, &format!("/fetch/{other}:8080")).unwrap().trim().len(), 12);
            assert!(page(host, &format!("/resolve/{other}")).is_some());
        }
        assert!(page(host, "/resolve/stranger").is_none());
    }
    let back = cluster.ok(["exec", "-T", "shop/db", "/probe", "check", "web:8080"]);
    assert_eq!(back.trim().len(), 12, "what web answers");
    let logs = cluster.ok(["logs", "-p", "shop"]);
    assert_eq!(logs.matches("serving on 8080").count(), 3, "{logs}");
}

pub fn a_deployment_survives_the_scheduler(cluster: &HostCluster) {
    let file = cluster.file("shop", &shop());
    cluster.ok(["up", "-p", "shop", "--detach", "-f", &file]);
    // In the middle of it, and again in the middle of a change.
    cluster.kill(1, "scheduler");
    settles(cluster, "shop", 3);
    assert!(serve(cluster, &[1, 2, 3]));
    let file = cluster.file("more", &web(6).replace("8000:", "8001:"));
    let run = while_the_scheduler_is_killed(cluster, || cluster.run(["up", "-p", "more", "-f", &file]));
    if run.code != Some(0) {
        // It was told so; once more, and it is there.
        run.fails_with(1);
        cluster.ready(&[1, 2, 3]);
        cluster.ok(["up", "-p", "more", "-f", &file]);
    }
    settles(cluster, "more", 6);
    assert_eq!(cluster.places("more/web"), ["h1", "h1", "h2", "h2", "h3", "h3"]);
    settles(cluster, "shop", 3);
}
