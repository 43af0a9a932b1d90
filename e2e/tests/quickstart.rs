//! The examples, deployed and used as their readers would.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use gantry_e2e::{Cluster, eventually, get};

fn example(name: &str) -> String {
    format!("{}/../examples/{name}/compose.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// The same file with another published port, so that a cluster of the user's can go on meanwhile.
fn on_port(cluster: &Cluster, name: &str, from: &str, to: &str) -> String {
    let original = example(name);
    let text = std::fs::read_to_string(&original).unwrap();
    assert!(text.contains(from), "{original} publishes {from}");
    let folder = std::path::Path::new(&original).parent().unwrap().to_string_lossy().into_owned();
    let text = text.replace(from, to).replace("build: ./", &format!("build: {folder}/"));
    cluster.file(name, &text)
}

#[test]
fn the_counter_counts_and_its_count_outlives_a_restart_and_a_redeployment() {
    let cluster = Cluster::start();
    let file = on_port(&cluster, "counter", "8000:5000", "18000:5000");
    cluster.ok(["up", "-p", "e2e-counter", "-f", &file]);
    let visit = || get("http://127.0.0.1:18000/", None).ok().filter(|page| page.status == 200).map(|page| page.body);
    let number = |body: &str| body.split("number ").nth(1).unwrap().split('.').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(number(&visit().unwrap()), 1);
    assert_eq!(number(&visit().unwrap()), 2);

    cluster.ok(["restart", "-p", "e2e-counter"]);
    assert_eq!(number(&eventually("the counter answers again", visit)), 3);

    cluster.ok(["down", "e2e-counter"]);
    assert!(visit().is_none());
    assert!(cluster.containers().is_empty());
    cluster.ok(["up", "-p", "e2e-counter", "-f", &file]);
    assert_eq!(number(&eventually("the counter answers again", visit)), 4);

    cluster.ok(["down", "e2e-counter", "-v"]);
    cluster.ok(["up", "-p", "e2e-counter", "-f", &file]);
    assert_eq!(number(&eventually("the counter answers again", visit)), 1, "its volume went with -v");
}
