//! The examples, deployed and used as their readers would.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::process::Command;

use gantry_e2e::{Cluster, Run, eventually, get, post};

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
    let visit =
        || get("http://127.0.0.1:18000/", None).ok().filter(|page| page.status == 200).map(|page| page.body);
    let number =
        |body: &str| body.split("number ").nth(1).unwrap().split('.').next().unwrap().parse::<u32>().unwrap();
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

#[test]
fn accounts_register_log_in_and_outlive_a_restart_and_a_redeployment() {
    let cluster = Cluster::start();
    let file = on_port(&cluster, "accounts", "8001:5000", "18001:5000");
    let url = |path: &str| format!("http://127.0.0.1:18001/{path}");
    let ada = [("name", "ada"), ("password", "correct horse")];
    let home = |cookie: Option<&str>| {
        get(&url(""), cookie).ok().filter(|page| page.status == 200).map(|page| page.body)
    };
    cluster.ok(["up", "-p", "e2e-accounts", "-f", &file]);

    assert!(home(None).unwrap().contains("not logged in"));
    assert_eq!(post(&url("login"), &ada, None).unwrap().status, 401, "nobody has registered");
    let registered = post(&url("register"), &ada, None).unwrap();
    assert_eq!((registered.status, registered.location.as_deref()), (303, Some("/")));
    assert!(home(registered.cookie.as_deref()).unwrap().contains("Hello, ada!"));
    assert_eq!(post(&url("register"), &ada, None).unwrap().status, 409, "a name belongs to one person");

    let wrong = post(&url("login"), &[("name", "ada"), ("password", "incorrect horse")], None).unwrap();
    assert_eq!((wrong.status, wrong.cookie), (401, None));
    let forged = get(&url(""), Some("session=made-up")).unwrap();
    assert!(forged.body.contains("not logged in"), "{}", forged.body);
    let session = post(&url("login"), &ada, None).unwrap().cookie.unwrap();

    cluster.ok(["restart", "-p", "e2e-accounts"]);
    let body = eventually("the page answers again", || home(Some(&session)));
    assert!(body.contains("Hello, ada!"), "sessions are in the database: {body}");
    assert_eq!(post(&url("login"), &ada, None).unwrap().status, 303);

    cluster.ok(["down", "e2e-accounts"]);
    assert!(cluster.containers().is_empty());
    cluster.ok(["up", "-p", "e2e-accounts", "-f", &file]);
    assert!(eventually("the page answers again", || home(Some(&session))).contains("Hello, ada!"));
    assert_eq!(post(&url("login"), &ada, None).unwrap().status, 303, "the data outlived down and up");
    assert_eq!(post(&url("logout"), &[], Some(&session)).unwrap().status, 303);
    assert!(home(Some(&session)).unwrap().contains("not logged in"));

    // No password can be read anywhere: not in the database, not in what Gantry shows.
    let command = "PGPASSWORD=$POSTGRES_PASSWORD pg_dump -h /tmp -U accounts accounts";
    let dump = cluster.ok(["exec", "-p", "e2e-accounts", "-T", "db", "sh", "-c", command]);
    assert!(dump.contains("$argon2id$") && !dump.contains("correct horse"), "{dump}");
}

#[test]
fn a_python_script_orchestrates_through_the_cluster_api() {
    let cluster = Cluster::start();
    let python = std::env::var("GANTRY_E2E_PYTHON").expect("run these tests with `make e2e`");
    let script = format!("{}/../examples/python/orchestrate.py", env!("CARGO_MANIFEST_DIR"));
    let said = Run::of(
        Command::new(python).arg(script).env("GANTRY_CONFIG", cluster.folder()).env("GANTRY_CONTEXT", "e2e"),
    )
    .ok();
    for line in [
        "changed service workers/thumbnails",
        "'workers/mail': 1",
        "applied again: nothing changed",
        "scaled thumbnails: 1 → 3",
        "event workers/thumbnails",
        "log workers/prepare prepared mail thumbnails reports",
        "removed workers",
    ] {
        assert!(said.contains(line), "should say {line:?}:\n{said}");
    }
    assert_eq!(cluster.ok(["ls", "-q"]), "");
    assert!(cluster.containers().is_empty());
}
