//! A process that ends again and again.

use std::time::Duration;

use gantry_e2e::{Cluster, Dice, comes_true};

use crate::world::{events, replicas_of, shown};

#[test]
fn a_crash_loop_for_want_of_memory_is_named_with_its_last_lines_and_ends_with_a_successor() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    let file = cluster.file(
        "hog",
        "services: {hog: {image: gantry-e2e/probe, command: [hog, '200'], mem_limit: 32M, \
         x-gantry: {heal: {restart_limit: 2}}}}",
    );
    cluster.ok(["up", "-p", "hog", "-f", &file, "--detach"]);
    let first = comes_true(Duration::from_secs(30), "it is there", || {
        let found = replicas_of(&cluster, "hog/hog")?;
        found.first().cloned().ok_or_else(|| "no replica".to_owned())
    });
    let moment = Duration::from_millis(dice.roll(60_000));
    cluster.while_killed("watchdog", moment, || {
        comes_true(Duration::from_secs(30), "gantry ps says that its memory ran out", || {
            let run = cluster.run(["ps", "hog"]);
            if run.stdout.contains("memory") { Ok(()) } else { Err(run.to_string()) }
        });
        comes_true(Duration::from_secs(30), "its last line is kept with its end", || {
            let run = cluster.run(["why", "hog/hog"]);
            if run.stdout.contains("about to take 200 MiB") { Ok(()) } else { Err(run.to_string()) }
        });
        comes_true(Duration::from_mins(4), "the loop is named, and it gets a successor", || {
            let said = events(&cluster, "hog/hog");
            let named = said.iter().any(|(reason, message)| {
                reason == "CrashLoop" && message.contains("crash loop, out of memory")
            });
            let now = replicas_of(&cluster, "hog/hog")?;
            // It ends no better, so the old one does not go for it.
            let replaced = now.iter().any(|replica| replica["id"] != first["id"]);
            if named && replaced { Ok(()) } else { Err(format!("{}; {said:#?}", shown(&now))) }
        });
    });
}

#[test]
fn a_process_that_crashes_now_and_then_is_left_to_the_engine() {
    let cluster = Cluster::start();
    // Up for long enough to be ready, twice.
    let file = cluster.file("now", "services: {web: {image: gantry-e2e/probe}}");
    cluster.ok(["up", "-p", "now", "-f", &file]);
    let before = replicas_of(&cluster, "now/web").unwrap();
    let lives = gantry_e2e::Lives::of(&cluster);
    for crash in 1..=2 {
        cluster.signal(before[0]["container"].as_str().unwrap(), "KILL");
        comes_true(Duration::from_secs(30), "it runs again", || {
            let starts = lives.starts("now/web").len();
            let now = replicas_of(&cluster, "now/web")?;
            let back = starts == crash && now.first().is_some_and(|replica| replica["ready"] == true);
            if back { Ok(()) } else { Err(format!("{starts} starts; {}", shown(&now))) }
        });
    }
    assert_eq!(replicas_of(&cluster, "now/web").unwrap()[0]["id"], before[0]["id"]);
    let said = events(&cluster, "now/web");
    let repairs = ["CrashLoop", "NotRestarted", "Unhealthy", "Failed"];
    assert!(!said.iter().any(|(reason, _)| repairs.contains(&reason.as_str())), "{said:#?}");
}
