//! Services through their life: deployed, scaled, changed, restarted, stopped, removed, explained.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use gantry_e2e::{Cluster, docker, eventually, get};
use serde_json::Value;

const WEB: &str = "
services:
  web:
    image: gantry-e2e/probe
    environment: {GREETING: hello}
    deploy: {replicas: 2}
";

fn ids(replicas: &[Value]) -> BTreeSet<String> {
    replicas.iter().map(|replica| replica["id"].as_str().unwrap().to_owned()).collect()
}

fn states(replicas: &[Value]) -> Vec<String> {
    replicas.iter().map(|replica| replica["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_service_is_scaled_changed_restarted_stopped_started_and_removed() {
    let cluster = Cluster::start();
    let file = cluster.file("shop", WEB);
    cluster.ok(["up", "-f", &file]);
    let first = cluster.replicas("shop");
    assert_eq!(states(&first), ["running", "running"]);

    // The same again changes nothing.
    let again = cluster.ok(["up", "-f", &file]);
    assert!(again.contains("is up to date"), "{again}");
    assert_eq!(ids(&cluster.replicas("shop")), ids(&first));
    assert_eq!(cluster.ok(["plan", "-f", &file]), "shop is up to date\n");

    // More, then fewer: the old ones stay.
    cluster.ok(["scale", "shop/web=4"]);
    let four = ids(&cluster.replicas("shop"));
    assert!(four.len() == 4 && four.is_superset(&ids(&first)));
    cluster.ok(["scale", "shop/web=1"]);
    let one = ids(&cluster.replicas("shop"));
    assert!(one.len() == 1 && ids(&first).is_superset(&one));
    cluster.ok(["scale", "shop/web=2"]);

    // A change replaces every replica, and says what changes.
    let changed = cluster.file("shop", &WEB.replace("hello", "good evening"));
    let plan = cluster.ok(["plan", "-f", &changed]);
    assert_eq!(plan, "± replace service shop/web  (environment: GREETING has another value)\n");
    let before = ids(&cluster.replicas("shop"));
    cluster.ok(["up", "-f", &changed]);
    let after = cluster.replicas("shop");
    assert!(ids(&after).is_disjoint(&before));
    assert!(after.iter().all(|replica| replica["revision"] == 2));
    assert_eq!(cluster.ok(["exec", "-T", "shop/web", "/probe", "env", "GREETING"]), "good evening\n");

    // A restart keeps the containers and starts each of them anew.
    let started = |replicas: &[Value]| -> Vec<String> {
        let format = "{{.Id}} {{.State.StartedAt}}";
        replicas
            .iter()
            .map(|replica| docker(["inspect", "-f", format, replica["container"].as_str().unwrap()]))
            .collect()
    };
    let before = started(&after);
    cluster.ok(["restart", "shop/web"]);
    for (old, new) in before.iter().zip(started(&cluster.replicas("shop"))) {
        assert_eq!(old.split(' ').next(), new.split(' ').next(), "the same container");
        assert_ne!(*old, new, "started again");
    }

    cluster.ok(["stop", "shop/web"]);
    assert!(cluster.replicas("shop").is_empty() && cluster.containers().is_empty());
    assert!(cluster.ok(["ls"]).contains("stopped"));
    cluster.ok(["start", "shop/web"]);
    assert_eq!(cluster.replicas("shop").len(), 2);

    cluster.ok(["rm", "shop/web"]);
    assert!(cluster.containers().is_empty());
    cluster.ok(["down", "shop"]);
    assert_eq!(cluster.json(["ls"]), Value::Array(vec![]));
    let networks =
        || docker(["network", "ls", "-q", "--filter", &format!("label=gantry.cluster={}", cluster.id())]);
    eventually("the stack's network is gone", || networks().is_empty().then_some(()));
}

#[test]
fn dependencies_hold_and_a_job_runs_once() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "chain",
        r#"
services:
  web:
    image: gantry-e2e/probe
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
  migrate:
    image: gantry-e2e/probe
    command: ["exit", "0", "after", "300"]
    restart: "no"
    depends_on: {db: {condition: service_started}}
  db:
    image: gantry-e2e/probe
    healthcheck: {test: ["CMD", "/probe", "check", "127.0.0.1:8080"], interval: 1s, retries: 20}
"#,
    );
    cluster.ok(["up", "-f", &file]);
    let replicas = cluster.replicas("chain");
    let of =
        |name: &str| replicas.iter().find(|replica| replica["service"] == format!("chain/{name}")).unwrap();
    assert_eq!(of("migrate")["state"], "completed");
    assert_eq!(of("db")["state"], "healthy");
    let when = |name: &str, field: &str| {
        docker(["inspect", "-f", &format!("{{{{.State.{field}}}}}"), of(name)["container"].as_str().unwrap()])
    };
    assert!(when("migrate", "FinishedAt") < when("web", "StartedAt"));
    assert!(when("db", "StartedAt") < when("migrate", "StartedAt"));

    // Deployed again, or its container thrown away: the job is not run again.
    let job = of("migrate")["container"].as_str().unwrap().to_owned();
    docker(["rm", &job]);
    cluster.ok(["up", "-f", &file]);
    cluster.ok(["up", "-f", &file]);
    let jobs = docker(["ps", "-aq", "--filter", "label=gantry.service=chain/migrate"]);
    assert_eq!(jobs, "");
}

#[test]
fn a_failed_job_ends_the_deployment_with_its_last_words() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "job",
        "services: {migrate: {image: gantry-e2e/probe, command: [exit, '3'], restart: 'no'}, web: {image: gantry-e2e/probe, depends_on: {migrate: {condition: service_completed_successfully}}}}",
    );
    let said = cluster.run(["up", "-f", &file]).fails_with(1);
    assert!(said.contains("ended with exit code 3"), "{said}");
    assert!(said.contains("| ending with 3"), "its last lines are shown: {said}");
}

#[test]
fn a_second_replica_on_a_port_of_the_host_waits_with_that_reason() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "ports",
        "services: {web: {image: gantry-e2e/probe, ports: [{target: 8080, published: 18080, mode: host}]}}",
    );
    let said = cluster.ok(["up", "-f", &file]);
    assert!(said.contains("http://localhost:18080"), "{said}");
    assert_eq!(get("http://127.0.0.1:18080/env/PATH", None).unwrap().status, 200);

    cluster.ok(["scale", "ports/web=2", "--detach"]);
    let reason = eventually("the second replica waits", || {
        let replicas = cluster.replicas("ports");
        let second = replicas.iter().find(|replica| replica["slot"] == 2)?;
        (second["state"] == "pending").then(|| second["message"].as_str().unwrap().to_owned())
    });
    assert_eq!(reason, "no node fits; 1 node: 1 has port 18080/tcp taken (by ports/web, replica 1)");
    let why = cluster.ok(["why", "ports/web"]);
    assert!(why.contains("1 of 1 node has port 18080/tcp taken (by ports/web, replica 1)"), "{why}");
}

#[test]
fn what_was_stopped_killed_or_removed_by_hand_comes_back() {
    let cluster = Cluster::start();
    let file = cluster.file("hand", "services: {web: {image: gantry-e2e/probe}}");
    cluster.ok(["up", "-f", &file]);
    for act in [&["stop", "-t", "0"][..], &["kill"], &["rm", "-f"]] {
        let container = cluster.replicas("hand")[0]["container"].as_str().unwrap().to_owned();
        let state = || docker(["inspect", "-f", "{{.State.StartedAt}}", &container]);
        let before = state();
        docker(act.iter().copied().chain([container.as_str()]));
        eventually("it runs again", || {
            let replica = cluster.replicas("hand")[0].clone();
            let inspected = gantry_e2e::docker_may_fail([
                "inspect",
                "-f",
                "{{.State.StartedAt}} {{.State.Running}}",
                &container,
            ]);
            let runs = inspected.stdout.contains("true") && !inspected.stdout.contains(&before);
            (runs && replica["state"] == "running").then_some(())
        });
    }
    assert_eq!(cluster.replicas("hand").len(), 1, "it is the same replica all the time");
}

#[test]
fn a_crashing_process_is_counted_and_said() {
    let cluster = Cluster::start();
    let file = cluster
        .file("crash", "services: {web: {image: gantry-e2e/probe, command: [exit, '7', after, '200']}}");
    cluster.ok(["up", "-f", &file, "--detach"]);
    eventually("its restarts are counted", || {
        let replicas = cluster.replicas("crash");
        let replica = replicas.first()?;
        (replica["restarts"].as_u64()? >= 2).then_some(())
    });
    eventually("its end is said", || cluster.ok(["ps", "crash"]).contains("exit code 7").then_some(()));
}

#[test]
fn memory_that_ran_out_is_named() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "hog",
        "services: {hog: {image: gantry-e2e/probe, command: [hog, '200'], mem_limit: 32M, restart: 'no'}}",
    );
    cluster.ok(["up", "-f", &file, "--detach"]);
    let end = eventually("it has ended", || {
        let replica = cluster.replicas("hog").first()?.clone();
        (replica["state"] == "exited").then_some(replica)
    });
    assert_eq!(end["exit_code"], 137);
    assert_eq!(end["message"], "out of memory");
    cluster.run(["up", "-f", &file]).fails_with(1);
}

#[test]
fn a_process_that_ignores_the_stop_signal_is_killed_at_the_end_of_its_grace() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "deaf",
        "services: {web: {image: gantry-e2e/probe, command: [stubborn], stop_grace_period: 1s}}",
    );
    cluster.ok(["up", "-f", &file]);
    cluster.ok(["down", "deaf", "--timeout", "8s"]);
    assert!(cluster.containers().is_empty());
}

#[test]
fn logs_are_shown_merged_followed_and_cut() {
    let cluster = Cluster::start();
    let file = cluster.file("talk", "services: {web: {image: gantry-e2e/probe, command: [count, '5'], restart: 'no', deploy: {replicas: 2}}}");
    cluster.ok(["up", "-f", &file]);
    eventually("both have ended", || {
        let replicas = cluster.replicas("talk");
        replicas.iter().all(|replica| replica["state"] == "completed").then_some(())
    });
    let all = cluster.ok(["logs", "talk/web"]);
    assert_eq!(all.lines().filter(|line| line.starts_with("web-1 | line ")).count(), 5, "{all}");
    assert_eq!(all.lines().filter(|line| line.starts_with("web-2 | line ")).count(), 5, "{all}");
    let tail = cluster.ok(["logs", "--tail", "1", "--no-log-prefix", "talk/web"]);
    assert_eq!(tail, "line 5\nline 5\n");

    // In order of time, whoever wrote it.
    let timed = cluster.ok(["logs", "-t", "--no-log-prefix", "talk/web"]);
    let times: Vec<&str> = timed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(times.len() == 10 && times.is_sorted(), "{timed}");
    let middle = times[4];
    let since = cluster.ok(["logs", "-t", "--no-log-prefix", "--since", middle, "talk/web"]);
    assert!(since.lines().all(|line| line.split(' ').next().unwrap() >= middle), "{since}");

    // What comes later is followed, also from a replica that comes later.
    let file = cluster.file("talk2", "services: {web: {image: gantry-e2e/probe, command: [count, '1000']}}");
    cluster.ok(["up", "-f", &file]);
    let mut follow = cluster.command();
    let mut follow = follow.args(["logs", "-f", "talk2/web"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("web-1 | line "));
    cluster.ok(["scale", "talk2/web=2", "--detach"]);
    assert!(lines.by_ref().take(200).any(|line| line.unwrap().starts_with("web-2 | line ")));
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn a_command_in_a_replica_has_input_output_and_an_exit_code() {
    let cluster = Cluster::start();
    let file = cluster.file("in", "services: {web: {image: gantry-e2e/probe}}");
    cluster.ok(["up", "-f", &file]);
    cluster.run(["exec", "-T", "in/web", "/probe", "exit", "42"]).fails_with(42);
    let mut command = cluster.command();
    let mut cat = command
        .args(["exec", "-T", "in/web", "/probe", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let sent = "0123456789\n".repeat(50_000);
    let mut input = cat.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || std::io::Write::write_all(&mut input, sent.as_bytes()).unwrap()
    });
    let output = cat.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), sent.len(), "every byte went there and back");
    // Docker's own code for a command that cannot be started, and its words.
    let run = cluster.run(["exec", "-T", "in/web", "/nothing"]);
    assert!(run.code == Some(126) && run.stdout.contains("/nothing"), "{run}");
    let said = cluster.run(["exec", "-T", "in/nobody", "/probe", "env", "A"]).fails_with(1);
    assert!(said.contains("has no service nobody; it has web"), "{said}");
}

#[test]
fn use_of_resources_and_events_are_shown() {
    let cluster = Cluster::start();
    let file = cluster.file("seen", "services: {web: {image: gantry-e2e/probe, mem_limit: 64M}}");
    cluster.ok(["up", "-f", &file]);
    let stats = cluster.json(["stats", "--no-stream", "seen/web"]);
    assert_eq!(stats[0]["name"], "seen/web/1");
    assert_eq!(stats[0]["memory_limit"], 64 << 20);
    assert!(stats[0]["memory"].as_u64().unwrap() > 0 && stats[0]["pids"].as_u64().unwrap() > 0, "{stats}");

    let events = cluster.json(["events", "seen"]);
    let reasons: Vec<&str> =
        events.as_array().unwrap().iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert!(reasons.starts_with(&["Deployed", "AddressGiven", "Placed"]), "{reasons:?}");
    assert!(cluster.json(["events", "nothing"]).as_array().unwrap().is_empty());

    let mut follow = cluster.command();
    let mut follow = follow.args(["events", "-f", "seen"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    lines.by_ref().take(3).for_each(|line| drop(line.unwrap()));
    cluster.ok(["scale", "seen/web=2"]);
    let next = lines.next().unwrap().unwrap();
    assert!(next.contains("Scaled") && next.contains("replicas 1 → 2, asked for by admin admin"), "{next}");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn containers_carry_what_the_file_says_and_what_other_tools_look_for() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "full",
        r#"
services:
  web:
    image: gantry-e2e/probe
    hostname: front
    user: "1000:1000"
    working_dir: /
    init: true
    read_only: true
    tmpfs: ["/scratch:size=1m,mode=1777"]
    volumes: ["data:/data", "./conf:/conf:ro"]
    cap_drop: [ALL]
    ulimits: {nofile: {soft: 1000, hard: 2000}}
    stop_signal: SIGINT
    stop_grace_period: 3s
    restart: on-failure:4
    labels: {colour: green}
    extra_hosts: ["elsewhere:10.9.9.9"]
    logging: {driver: json-file, options: {max-size: 1m}}
    deploy: {resources: {limits: {cpus: "0.5", memory: 64M, pids: 50}}}
    healthcheck: {test: ["CMD", "/probe", "check", "127.0.0.1:8080"], interval: 1s}
volumes: {data: }
"#,
    );
    std::fs::create_dir(std::path::Path::new(&file).with_file_name("conf")).unwrap();
    std::fs::write(std::path::Path::new(&file).with_file_name("conf").join("a.txt"), "from the project")
        .unwrap();
    cluster.ok(["up", "-f", &file]);
    let container = cluster.replicas("full")[0]["container"].as_str().unwrap().to_owned();
    let inspected: Value = serde_json::from_str(&docker(["inspect", &container])).unwrap();
    let (config, host) = (&inspected[0]["Config"], &inspected[0]["HostConfig"]);
    assert_eq!(config["Hostname"], "front");
    assert_eq!(config["User"], "1000:1000");
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["StopTimeout"], 3);
    assert_eq!(host["Init"], true);
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["PidsLimit"], 50);
    assert_eq!(host["CapDrop"][0], "ALL");
    assert_eq!(host["Ulimits"][0]["Hard"], 2000);
    assert_eq!(host["RestartPolicy"]["Name"], "on-failure");
    assert_eq!(host["RestartPolicy"]["MaximumRetryCount"], 4);
    assert_eq!(host["LogConfig"]["Config"]["max-size"], "1m");
    assert_eq!(host["ExtraHosts"][0], "elsewhere:10.9.9.9");
    let labels = &config["Labels"];
    assert_eq!(labels["colour"], "green");
    assert_eq!(labels["com.docker.compose.project"], "full");
    assert_eq!(labels["com.docker.compose.service"], "web");
    assert_eq!(labels["com.docker.compose.container-number"], "1");
    assert!(labels.get("com.docker.compose.config-hash").is_none(), "docker compose must not adopt it");

    let address = cluster.replicas("full")[0]["addresses"]["default"].as_str().unwrap().to_owned();
    let page = |path: &str| get(&format!("http://{address}:8080{path}"), None).unwrap();
    assert_eq!(page("/file/conf/a.txt").body, "from the project");
    assert_eq!(page("/write/conf/b.txt").status, 502, "mounted read-only");
    assert_eq!(page("/write/scratch/b.txt").status, 200);
    assert_eq!(page("/write/b.txt").status, 502, "the root is read-only");
}
