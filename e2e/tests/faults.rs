//! Faults in the middle: processes killed, a state that was lost or restored, an engine that hangs or
//! goes away, a full disk. Nothing that was acknowledged is lost, and nothing that runs is disturbed.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gantry_e2e::{Cluster, Dice, Hosts, PARTS, Run, after, eventually, eventually_within, get};

fn web(replicas: u32, greeting: &str) -> String {
    format!(
        "services: {{web: {{image: gantry-e2e/probe, stop_grace_period: 1s, environment: {{GREETING: '{greeting}'}}, deploy: {{replicas: {replicas}}}}}}}"
    )
}

/// The containers of all stacks with what would change if they were touched.
fn untouched(cluster: &Cluster) -> BTreeSet<String> {
    let format = "{{.Id}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}";
    let containers = cluster.containers();
    let args = ["inspect", "-f", format].into_iter().chain(containers.iter().map(String::as_str));
    cluster.docker(args).lines().map(str::to_owned).collect()
}

/// Whether a stack has exactly these replicas, each with a running container and that greeting, and no other container.
fn stands(cluster: &Cluster, stack: &str, replicas: usize, greeting: &str) -> bool {
    let run = cluster.run(["ps", stack, "--format", "json"]);
    let Ok(serde_json::Value::Array(known)) = serde_json::from_str(&run.stdout) else { return false };
    let running = known.iter().filter(|replica| replica["state"] == "running");
    let wanted: BTreeSet<_> = running.filter_map(|replica| replica["container"].as_str()).collect();
    let containers = cluster.containers();
    let format = "{{slice .Name 1}} {{.State.Running}} {{.Config.Env}}";
    let args = ["inspect", "-f", format].into_iter().chain(containers.iter().map(String::as_str));
    let said = cluster.docker_may_fail(args).stdout;
    let word = format!("GREETING={greeting}");
    let right = |line: &&str| line.contains(" true ") && line.contains(&word);
    let there: BTreeSet<_> = said.lines().filter(right).filter_map(|line| line.split(' ').next()).collect();
    known.len() == replicas && containers.len() == replicas && wanted.len() == replicas && wanted == there
}

#[test]
fn a_stack_converges_though_scheduler_and_agent_are_killed_twenty_times_during_deploys() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    cluster.ok(["up", "-f", &cluster.file("shop", &web(4, "word 0"))]);
    // What the stack is: the newest deploy that was acknowledged, or one after it that was made all the same.
    let (mut current, mut acknowledged) = (0, 0);
    for round in 1..=20 {
        let file = cluster.file("shop", &web(4, &format!("word {round}")));
        let deploy = cluster
            .command()
            .args(["up", "--detach", "-f", &file])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (first, second) = if round % 2 == 0 { ("agent", "scheduler") } else { ("scheduler", "agent") };
        after(Duration::from_millis(dice.roll(400)));
        cluster.kill(first);
        after(Duration::from_millis(dice.roll(1500)));
        cluster.kill(second);
        let ended = deploy.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        match ended.status.code() {
            Some(0) => (current, acknowledged) = (round, acknowledged + 1),
            // It was told so, and what is next is clear.
            Some(1) => assert!(
                [
                    "cannot reach the",
                    "the connection was lost",
                    "no node is ready",
                    "is not connected",
                    "hung up"
                ]
                .iter()
                .any(|words| said.contains(words)),
                "{said}"
            ),
            other => panic!("exit code {other:?}: {said}"),
        }
        let word = |round: u32| format!("word {round}");
        eventually_within(Duration::from_mins(1), &format!("round {round} converges: {said}"), || {
            // One that was not acknowledged may have been made or not.
            if stands(&cluster, "shop", 4, &word(round)) {
                current = round;
            }
            stands(&cluster, "shop", 4, &word(current)).then_some(())
        });
    }
    assert!(acknowledged > 0, "some deploys get through");
    let file = cluster.file("shop", &web(4, "the end"));
    cluster.ok(["up", "-f", &file]);
    assert!(stands(&cluster, "shop", 4, "the end"));
    let names: BTreeSet<_> =
        cluster.replicas("shop").iter().map(|replica| replica["slot"].as_u64().unwrap()).collect();
    assert_eq!(names, BTreeSet::from([1, 2, 3, 4]), "no slot twice");
}

#[test]
fn a_stack_serves_while_every_process_is_killed_and_their_return_changes_nothing() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "shop",
        "services: {web: {image: gantry-e2e/probe, ports: ['18083:8080'], deploy: {replicas: 1}}, back: {image: gantry-e2e/probe, deploy: {replicas: 2}}}",
    );
    cluster.ok(["up", "-f", &file]);
    let before = untouched(&cluster);
    assert_eq!(before.len(), 3);

    let address = cluster.replicas("shop")[0]["addresses"]["default"].as_str().unwrap().to_owned();
    let served = |at: &str| get(&format!("http://{at}/"), None).is_ok_and(|page| page.status == 200);
    for part in ["watchdog", "scheduler", "agent"] {
        // By the engine's own kill, so that it does not start them again.
        cluster.docker(["kill", &cluster.container(part)]);
    }
    assert!(served("127.0.0.1:18083"));
    // The published port is the proxy's; the containers need nobody.
    cluster.docker(["kill", &cluster.container("proxy")]);
    assert!(!served("127.0.0.1:18083") && served(&format!("{address}:8080")));
    assert_eq!(untouched(&cluster), before);
    let said = cluster.run(["ps"]).fails_with(1);
    assert!(said.contains("cannot reach the scheduler") && said.contains("gantry init"), "{said}");

    for part in PARTS {
        cluster.docker(["start", &cluster.container(part)]);
    }
    eventually("all know each other again", || {
        let run = cluster.run(["ps", "shop", "--format", "json"]);
        let known: serde_json::Value = serde_json::from_str(&run.stdout).ok()?;
        let known = known.as_array()?;
        (known.len() == 3 && known.iter().all(|replica| replica["state"] == "running")).then_some(())
    });
    // A name can be resolved again, so the proxy has its table.
    eventually("names are answered", || {
        let page = get("http://127.0.0.1:18083/resolve/back", None).ok()?;
        (page.status == 200).then_some(())
    });
    assert!(cluster.ok(["up", "-f", &file]).contains("is up to date"));
    assert_eq!(untouched(&cluster), before);
    assert_eq!(get("http://127.0.0.1:18083/", None).unwrap().status, 200);
}

#[test]
fn a_scheduler_with_an_empty_or_an_older_state_makes_no_agent_remove_anything() {
    let cluster = Cluster::start();
    let scheduler = cluster.container("scheduler");
    cluster.ok(["up", "-f", &cluster.file("shop", &web(2, "hello"))]);
    let inside = cluster.data("scheduler").join("state.redb");
    let (kept, current) = (cluster.folder().join("kept"), cluster.folder().join("current"));
    let copy = |from: &Path, to: &Path| assert!(std::fs::copy(from, to).unwrap() > 0);

    cluster.docker(["stop", &scheduler]);
    copy(&inside, &kept);
    cluster.docker(["start", &scheduler]);
    eventually("the scheduler is back", || stands(&cluster, "shop", 2, "hello").then_some(()));
    cluster.ok(["up", "-f", &cluster.file("later", &web(2, "later"))]);
    let before = untouched(&cluster);
    assert_eq!(before.len(), 4);

    // What the agent says to a state that it must not trust.
    let refused = |words: &str| {
        eventually("the agent refuses", || {
            let nodes = cluster.run(["node", "ls", "--format", "json"]).stdout;
            let log = cluster.docker_may_fail(["logs", "--since", "20s", &cluster.container("agent")]);
            let log = log.stdout + &log.stderr;
            (nodes.contains(words) || log.contains(words)).then_some(())
        });
        assert_eq!(untouched(&cluster), before);
    };
    cluster.docker(["stop", &scheduler]);
    copy(&inside, &current);
    copy(&kept, &inside);
    cluster.docker(["start", &scheduler]);
    refused("lacks changes");
    // Nor does it start to do so when people go on working with it.
    cluster.run(["up", "--detach", "-f", &cluster.file("third", &web(1, "third"))]);
    cluster.run(["down", "shop", "--timeout", "3s"]);
    assert!(untouched(&cluster).is_superset(&before));

    cluster.docker(["stop", &scheduler]);
    std::fs::remove_file(&inside).unwrap();
    cluster.docker(["start", &scheduler]);
    eventually("an empty state serves", || (cluster.run(["ls", "-q"]).code == Some(0)).then_some(()));
    assert_eq!(cluster.ok(["ls", "-q"]), "");
    refused("lacks changes");

    // The newest state again, and all is as it was.
    cluster.docker(["stop", &scheduler]);
    copy(&current, &inside);
    cluster.docker(["start", &scheduler]);
    eventually("the replicas are known again", || {
        let run = cluster.run(["ps", "--format", "json"]).stdout;
        (run.matches("\"running\"").count() == 4).then_some(())
    });
    assert_eq!(untouched(&cluster), before);
}

#[test]
fn a_full_disk_refuses_changes_and_loses_nothing() {
    let cluster = Cluster::start();
    let scheduler = cluster.container("scheduler");
    cluster.ok(["up", "-f", &cluster.file("shop", &web(1, "hello"))]);
    cluster.docker(["stop", &scheduler]);
    let disk = TinyDisk::over(&cluster.data("scheduler"));
    cluster.docker(["start", &scheduler]);
    eventually("the scheduler is back", || stands(&cluster, "shop", 1, "hello").then_some(()));
    cluster.ok(["scale", "shop/web=2"]);
    let before = untouched(&cluster);

    disk.fill();
    // The store has room of its own for some changes; it is used up, and then none is taken any more.
    let mut last = 2;
    let said = (0..2000)
        .find_map(|step| {
            let wanted = 3 + step % 2;
            let run = cluster.run(["scale", "--detach", &format!("shop/web={wanted}")]);
            if run.code == Some(0) {
                last = wanted;
                return None;
            }
            Some(run.fails_with(1))
        })
        .expect("a full disk is noticed");
    assert!(said.contains("no space is left on the disk") && said.contains("nothing was changed"), "{said}");

    disk.free();
    eventually("changes are taken again", || {
        (cluster.run(["scale", &format!("shop/web={last}")]).code == Some(0)).then_some(())
    });
    eventually("what was acknowledged is there", || stands(&cluster, "shop", last, "hello").then_some(()));
    cluster.ok(["scale", "shop/web=2"]);
    assert!(untouched(&cluster) == before, "the first two were never touched");
}

/// A small file system in the place of a folder, with what the folder had.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn over(folder: &Path) -> Self {
        let copy = tempfile::TempDir::new().unwrap();
        let (path, folder) = (folder, folder.to_str().unwrap());
        let kept = copy.path().to_str().unwrap();
        let run = |program: &str, args: &[&str]| Run::of(Command::new(program).args(args)).ok();
        run("cp", &["-a", &format!("{folder}/."), kept]);
        run("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs", folder]);
        run("cp", &["-a", &format!("{kept}/."), folder]);
        Self(path.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        // Fails when there is no room left, which is what is wanted.
        let _ = Command::new("dd")
            .args(["if=/dev/zero", &format!("of={}", self.filler().display()), "bs=4k"])
            .stderr(Stdio::null())
            .status();
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn an_engine_that_hangs_or_is_killed_is_said_and_survived() {
    let hosts = Hosts::start(1);
    let host = hosts.host(1);
    let cluster = Cluster::start_on(host);
    cluster.ok(["up", "-f", &cluster.file("shop", &web(3, "hello"))]);

    // It hangs in the middle of a deploy.
    let file = cluster.file("shop", &web(3, "good evening"));
    cluster.ok(["up", "--detach", "-f", &file]);
    host.hang_engine();
    let said = cluster.run(["up", "-f", &file, "--timeout", "3s"]).fails_with(4);
    assert!(said.contains("shop is not there after 3 s"), "{said}");
    eventually("the node says what is wrong", || {
        cluster.ok(["node", "ls"]).contains("the Docker Engine does not answer").then_some(())
    });
    let said = cluster.run(["up", "-f", &file]).fails_with(1);
    assert!(said.contains("n1: its engine cannot be used"), "{said}");
    host.thaw();
    eventually("the deploy goes on", || stands(&cluster, "shop", 3, "good evening").then_some(()));

    // It is killed in the middle of a deploy, and every container with its next start.
    cluster.ok(["up", "--detach", "-f", &cluster.file("shop", &web(4, "at last"))]);
    host.kill_engine();
    let said = cluster.run(["container", "ls"]).fails_with(1);
    assert!(said.contains("Docker Engine"), "{said}");
    let said = cluster.run(["init", "--name", "other"]).fails_with(1);
    assert!(said.contains("Docker Engine"), "{said}");
    host.start_engine();
    eventually_within(Duration::from_mins(1), "all come back and the deploy ends", || {
        stands(&cluster, "shop", 4, "at last").then_some(())
    });
}
