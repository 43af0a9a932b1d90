//! Traffic through the proxy while services change: nothing fails, and everybody gets a share.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use gantry_e2e::{Cluster, Load, docker, eventually, get};

const PORT: u16 = 18_100;

fn web(replicas: u32) -> String {
    format!(
        "services: {{web: {{image: gantry-e2e/probe, ports: ['{PORT}:8080'], deploy: {{replicas: {replicas}}}}}}}"
    )
}

#[test]
fn the_counter_scaled_to_three_spreads_its_requests() {
    let cluster = Cluster::start();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/counter");
    let text = std::fs::read_to_string(format!("{folder}/compose.yaml")).unwrap();
    let text =
        text.replace("8000:5000", &format!("{PORT}:5000")).replace("build: ./", &format!("build: {folder}/"));
    let file = cluster.file("counter", &text);
    cluster.ok(["up", "-p", "e2e-counter", "-f", &file]);
    cluster.ok(["scale", "e2e-counter/web=3"]);
    // Each replica writes its own access log: the proxy's numbers are compared with those.
    for _ in 0..60 {
        let page = get(&format!("http://127.0.0.1:{PORT}/"), None).unwrap();
        assert!(page.status == 200 && page.body.contains("visitor number"), "{page:?}");
    }
    let endpoints = get("http://127.0.0.1:7673/endpoints", None).unwrap().body;
    let endpoints: serde_json::Value = serde_json::from_str(&endpoints).unwrap();
    let shares: Vec<u64> = endpoints
        .as_array()
        .unwrap()
        .iter()
        .filter(|endpoint| endpoint["service"] == "e2e-counter/web")
        .filter_map(|endpoint| endpoint["answers"]["2xx"].as_u64())
        .collect();
    assert_eq!(shares.iter().sum::<u64>(), 60, "{shares:?}");
    assert!(shares.len() == 3 && shares.iter().all(|share| *share >= 8), "{shares:?}");
}

#[test]
fn a_killed_replica_costs_no_request() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-f", &cluster.file("shop", &web(3))]);
    let load = Load::on(PORT).start();
    load.pass(3_000);
    docker(["kill", cluster.replicas("shop")[1]["container"].as_str().unwrap()]);
    load.pass(8_000);
    docker(["kill", cluster.replicas("shop")[0]["container"].as_str().unwrap()]);
    load.pass(9_000);
    let report = load.stop();
    report.none_failed(20_000);
    assert!(report.bodies.len() >= 3, "every replica has answered: {:?}", report.bodies);
}

#[test]
fn scaling_and_restarting_under_load_cost_no_request() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-f", &cluster.file("shop", &web(2))]);
    let load = Load { sometimes: Some((200, "/slow/1500".into())), ..Load::on(PORT) }.start();
    load.pass(2_000);
    cluster.ok(["scale", "shop/web=4"]);
    eventually("the new ones are used", || {
        let endpoints = get("http://127.0.0.1:7673/endpoints", None).ok()?.body;
        let endpoints: serde_json::Value = serde_json::from_str(&endpoints).ok()?;
        let used =
            endpoints.as_array()?.iter().filter(|endpoint| endpoint["answers"]["2xx"].as_u64() > Some(0));
        (used.count() == 4).then_some(())
    });
    cluster.ok(["scale", "shop/web=1"]);
    cluster.ok(["restart", "shop/web"]);
    cluster.ok(["scale", "shop/web=3"]);
    cluster.ok(["restart", "shop/web"]);
    load.pass(5_000);
    while load.sent() < 50_000 {
        load.pass(1_000);
    }
    load.stop().none_failed(50_000);
}

#[test]
fn an_nginx_that_resolves_once_reaches_every_replica_also_new_ones() {
    let cluster = Cluster::start();
    let folder = cluster.folder().join("files/front");
    std::fs::create_dir_all(folder.join("nginx")).unwrap();
    let dockerfile = "FROM debian:bookworm-slim\nRUN apt-get update && apt-get install -y --no-install-recommends nginx-light\n\
                      COPY nginx.conf /etc/nginx/nginx.conf\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n";
    std::fs::write(folder.join("nginx/Dockerfile"), dockerfile).unwrap();
    let config =
        "events {} http { access_log off; server { listen 80; location / { proxy_pass http://web:8080; } } }";
    std::fs::write(folder.join("nginx/nginx.conf"), config).unwrap();
    let file = cluster.file(
        "front",
        &format!(
            "services:
  nginx: {{build: ./nginx, ports: ['{PORT}:80'], depends_on: [web]}}
  web: {{image: gantry-e2e/probe, deploy: {{replicas: 2}}}}"
        ),
    );
    cluster.ok(["up", "-f", &file]);
    let answered_by = |count: u64| {
        let report = Load { requests: Some(count), connections: 4, ..Load::on(PORT) }.start().finish();
        report.none_failed(count);
        report.bodies
    };
    eventually("nginx answers", || {
        get(&format!("http://127.0.0.1:{PORT}/"), None).ok().filter(|page| page.status == 200)
    });
    assert_eq!(answered_by(200).len(), 2);
    cluster.ok(["scale", "front/web=4"]);
    let four = answered_by(400);
    assert!(four.len() == 4 && four.values().all(|share| *share > 40), "{four:?}");
    cluster.ok(["scale", "front/web=1"]);
    assert_eq!(answered_by(200).len(), 1);
}

#[test]
fn traffic_goes_on_without_a_scheduler_and_a_proxy_starts_by_its_saved_table() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-f", &cluster.file("shop", &web(2))]);
    cluster.docker(["stop", "-t", "1", &cluster.container("scheduler")]);
    Load { requests: Some(2_000), ..Load::on(PORT) }.start().finish().none_failed(2_000);
    cluster.kill("proxy");
    eventually("the saved table is served", || {
        get(&format!("http://127.0.0.1:{PORT}/"), None).ok().filter(|page| page.status == 200)
    });
    let report = Load { requests: Some(2_000), ..Load::on(PORT) }.start().finish();
    report.none_failed(2_000);
    assert_eq!(report.bodies.len(), 2);
    // A replica that is killed meanwhile is not missed either.
    docker(["kill", cluster.containers()[0].as_str()]);
    Load { requests: Some(2_000), ..Load::on(PORT) }.start().finish().none_failed(2_000);
    cluster.docker(["start", &cluster.container("scheduler")]);
}
