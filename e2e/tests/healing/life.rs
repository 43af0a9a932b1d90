//! Processes begin and end as their file says.

use gantry_e2e::{Cluster, Lives, comes_true, get};

use crate::world::{address, all_ready, event, file_with_state, text};

#[test]
fn a_process_that_ignores_sigterm_is_killed_at_the_end_of_its_grace_and_that_is_said() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "deaf",
        "services: {web: {image: gantry-e2e/probe, environment: {PROBE_DEAF: 'yes'}, stop_grace_period: 2s}}",
    );
    cluster.ok(["up", "-p", "deaf", "-f", &file]);
    for command in [&["restart", "deaf/web"][..], &["stop", "deaf/web"]] {
        let lives = Lives::of(&cluster);
        cluster.ok(command);
        let signals = comes_true(std::time::Duration::from_secs(30), "it was killed", || {
            let all = lives.all();
            let died = all.iter().any(|moment| moment.what == "die" && moment.service == "deaf/web");
            if died { Ok(all) } else { Err(format!("{all:#?}")) }
        });
        let signals: Vec<_> = signals
            .into_iter()
            .filter(|moment| moment.what == "kill" && moment.service == "deaf/web")
            .collect();
        let numbers: Vec<_> = signals.iter().filter_map(|moment| moment.number).collect();
        assert_eq!(numbers, [15, 9], "it was asked first: {signals:#?}");
        let grace = signals[1].at.checked_sub(signals[0].at).unwrap();
        assert!(grace.as_secs_f64() > 1.9, "it had its 2 s: {grace:?}");
    }
    let said = event(&cluster, "deaf/web", "that it had to be killed", |_, message| {
        let message = message.to_lowercase();
        message.contains("kill") && message.contains("grace")
    });
    println!("{said}");
}

#[test]
fn hooks_run_after_the_start_and_before_the_stop_signal() {
    let cluster = Cluster::start();
    let (file, state) = file_with_state(
        &cluster,
        "hooks",
        "
services:
  web:
    image: gantry-e2e/probe
    environment: {PROBE_NOTES: /state/notes}
    volumes: ['./state:/state']
    stop_grace_period: 5s
    post_start: [{command: [/probe, note, /state/notes, after the start]}]
    pre_stop:
      - {command: [/probe, note, /state/notes, before the stop]}
      - {command: [/probe, check, 'http://127.0.0.1:8080/write/state/served']}
",
    );
    cluster.ok(["up", "-p", "hooks", "-f", &file]);
    let notes = || std::fs::read_to_string(state.join("notes")).unwrap_or_default();
    comes_true(std::time::Duration::from_secs(30), "the first hook has run", || {
        if notes() == "started\nafter the start\n" { Ok(()) } else { Err(notes()) }
    });
    cluster.ok(["restart", "hooks/web"]);
    let once = "started\nafter the start\nbefore the stop\nasked to end\n";
    comes_true(std::time::Duration::from_secs(30), "the hooks run at a restart", || {
        let wanted = format!("{once}started\nafter the start\n");
        if notes() == wanted { Ok(()) } else { Err(notes()) }
    });
    cluster.ok(["down", "hooks"]);
    assert_eq!(notes(), [once, once].concat(), "and when it ends for good");
    assert!(state.join("served").exists(), "it served while its hook ran");
}

#[test]
fn init_buries_orphans_that_nobody_else_does() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "init",
        "services: {with: {image: gantry-e2e/probe, init: true}, without: {image: gantry-e2e/probe}}",
    );
    cluster.ok(["up", "-p", "init", "-f", &file]);
    let [with, without] = ["init/with", "init/without"].map(|service| {
        let replica = all_ready(&cluster, service, 1).remove(0);
        for _ in 0..3 {
            let page = get(&format!("http://{}:8080/orphan", address(&replica)), None).unwrap();
            assert_eq!(page.status, 200, "{page:?}");
        }
        text(&replica, "container").to_owned()
    });
    comes_true(std::time::Duration::from_secs(30), "the orphans have ended", || {
        let zombies = cluster.zombies(&without);
        if zombies == 3 { Ok(()) } else { Err(format!("{zombies} zombies without init")) }
    });
    comes_true(std::time::Duration::from_secs(30), "init has buried its own", || {
        let zombies = cluster.zombies(&with);
        if zombies == 0 { Ok(()) } else { Err(format!("{zombies} zombies with init")) }
    });
}
