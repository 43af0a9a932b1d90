//! The agent's public half: single containers, straight on a node, from the command line and from a
//! generic client.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::process::Command;

use gantry_e2e::{Cluster, Run, docker, docker_may_fail, eventually};

/// Removes a container of the test's, also when it fails.
struct Named(&'static str);

impl Drop for Named {
    fn drop(&mut self) {
        docker_may_fail(["rm", "-f", self.0]);
    }
}

#[test]
fn a_container_lives_through_every_state() {
    let cluster = Cluster::start();
    let name = Named("e2e-life");
    let state = || docker(["inspect", "-f", "{{.State.Status}}", name.0]);
    cluster.ok([
        "container",
        "create",
        "--name",
        name.0,
        "-e",
        "A=b",
        "-l",
        "kind=test",
        "--restart",
        "on-failure:2",
        "-m",
        "64M",
        "gantry-e2e/probe",
    ]);
    assert_eq!(state(), "created");
    cluster.ok(["container", "start", name.0]);
    assert_eq!(state(), "running");
    assert_eq!(cluster.ok(["container", "exec", name.0, "/probe", "env", "A"]), "b\n");
    cluster.run(["container", "exec", name.0, "/probe", "exit", "5"]).fails_with(5);
    assert_eq!(cluster.ok(["container", "logs", name.0]), "serving on 8080\n");

    let listed = cluster.json(["container", "ls", "--filter", "label=kind=test"]);
    assert_eq!(listed[0]["name"], name.0);
    assert_eq!(listed[0]["state"], "running");
    let inspected: serde_json::Value =
        serde_json::from_str(&cluster.ok(["container", "inspect", name.0])).unwrap();
    assert_eq!(inspected[0]["HostConfig"]["RestartPolicy"]["MaximumRetryCount"], 2);
    assert_eq!(inspected[0]["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(inspected[0]["Config"]["Env"][0], "A=***", "values may be secret");
    assert!(cluster.ok(["container", "stats", "--no-stream", name.0]).contains("64.0MiB"));

    cluster.ok(["container", "restart", "-t", "1", name.0]);
    assert_eq!(state(), "running");
    cluster.ok(["container", "kill", "-s", "SIGTERM", name.0]);
    eventually("it ends by itself", || (state() == "exited").then_some(()));
    cluster.ok(["container", "start", name.0]);
    cluster.ok(["container", "stop", "-t", "5", name.0]);
    assert_eq!(state(), "exited");
    cluster.ok(["container", "rm", name.0]);
    docker_may_fail(["inspect", name.0]).fails_with(1);
}

#[test]
fn run_waits_shows_the_output_and_ends_with_the_exit_code() {
    let cluster = Cluster::start();
    let label = ["--label", "e2e=run-waits"];
    let run = ["container", "run", "--rm"].into_iter().chain(label);
    let out = cluster.ok(run.clone().chain(["gantry-e2e/probe", "print", "one", "two"]));
    assert_eq!(out, "one\ntwo\n");
    cluster.run(run.chain(["gantry-e2e/probe", "exit", "9"])).fails_with(9);
    let left = docker(["ps", "-aq", "--filter", "label=e2e=run-waits"]);
    assert_eq!(left, "", "--rm left nothing");
}

#[test]
fn every_mistake_is_said_in_the_engines_words_and_with_the_right_code() {
    let cluster = Cluster::start();
    let _name = Named("e2e-taken");
    cluster.ok(["container", "create", "--name", "e2e-taken", "gantry-e2e/probe"]);
    for (args, code, words) in [
        (&["container", "start", "e2e-nobody"][..], 1, "No such container: e2e-nobody"),
        (
            &["container", "create", "--name", "e2e-taken", "gantry-e2e/probe"],
            1,
            "already in use by container",
        ),
        (&["container", "create", "gantry-e2e/none"], 1, "No such image"),
        (&["container", "create", "--restart", "sometimes", "gantry-e2e/probe"], 2, "no restart policy"),
        (&["container", "create", "-p", "99999:1", "gantry-e2e/probe"], 2, "99999 is no port"),
        (&["container", "create", "-m", "lots", "gantry-e2e/probe"], 2, "is no size"),
        (&["container", "create", "-l", "gantry.cluster=x", "gantry-e2e/probe"], 2, "Gantry's own"),
        (&["container", "exec", "e2e-taken", "/probe"], 1, "is not running"),
        (&["container", "kill", "e2e-taken"], 1, "is not running"),
        (&["container", "ls", "--node", "n9"], 1, "there is no node n9; there are n1"),
        (&["container", "run", "--rm", "gantry-e2e/probe", "--network"], 64, "what is"),
    ] {
        let run = cluster.run(args);
        assert_eq!(run.code, Some(code), "{run}");
        assert!(run.stderr.contains(words), "should say {words:?}: {run}");
    }
}

#[test]
fn containers_of_services_are_refused_with_the_command_to_use() {
    let cluster = Cluster::start();
    let file = cluster.file("mine", "services: {web: {image: gantry-e2e/probe}}");
    cluster.ok(["up", "-f", &file]);
    let container = cluster.replicas("mine")[0]["container"].as_str().unwrap().to_owned();
    for (verb, command) in [
        ("stop", "gantry stop mine/web"),
        ("kill", "gantry stop mine/web"),
        ("restart", "gantry restart mine/web"),
        ("rm", "gantry rm mine/web"),
        ("start", "gantry start mine/web"),
    ] {
        let said = cluster.run(["container", verb, &container]).fails_with(1);
        assert!(said.contains("belongs to the service mine/web") && said.contains(command), "{said}");
    }
    assert_eq!(docker(["inspect", "-f", "{{.State.Running}} {{.RestartCount}}", &container]), "true 0");
    assert!(cluster.ok(["container", "logs", &container]).contains("serving"), "reading is fine");
}

#[test]
fn a_generic_client_drives_a_container_by_reflection_alone() {
    let cluster = Cluster::start();
    let said = python(
        "reflection.py",
        &[cluster.context_file().to_str().unwrap(), &cluster.agent_address(), &cluster.address()],
    );
    for step in ["created", "started", "logs", "exec", "stats", "stopped", "restarted", "removed", "refused"]
    {
        assert!(said.contains(step), "{said}");
    }
}

#[test]
fn a_generic_client_reaches_the_rest_of_the_agents_api() {
    let cluster = Cluster::start();
    let said = python("agent_api.py", &[cluster.context_file().to_str().unwrap(), &cluster.agent_address()]);
    for step in [
        "paused, renamed, listed",
        "copied",
        "attached, waited",
        "events",
        "built, tagged",
        "volumes, networks",
        "host",
    ] {
        assert!(said.contains(step), "{said}");
    }
}

/// Runs a script of the tests' Python, which must succeed, and answers with what it said.
fn python(script: &str, args: &[&str]) -> String {
    let python = std::env::var("GANTRY_E2E_PYTHON").expect("run these tests with `make e2e`");
    let script = format!("{}/python/{script}", env!("CARGO_MANIFEST_DIR"));
    Run::of(Command::new(python).arg(script).args(args)).ok()
}
