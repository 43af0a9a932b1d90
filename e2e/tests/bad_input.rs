//! Everything that can be asked wrongly: a clear message, the right exit code, and nothing changed.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::fs;
use std::path::Path;

use gantry_e2e::Cluster;

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_says_why_with_its_line() {
    let cluster = Cluster::start();
    let good = cluster.file("shop", "services: {web: {image: gantry-e2e/probe}}");
    cluster.ok(["up", "-f", &good]);
    let before = (cluster.replicas("shop"), cluster.json(["events"]));
    for (text, words) in [
        ("services: [", &["this is not YAML", "shop/compose.yaml:1:11"][..]),
        ("services: {web: {image: 7, ports: yes}}", &["ports must be a list"]),
        ("services: {web: {image: a, enviroment: {}}}", &["no key enviroment", "did you mean environment?"]),
        (
            "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [c]}, c: {image: x, depends_on: [a]}}",
            &["goes in a circle: a → b → c → a"],
        ),
        (
            "services: {web: {image: 'x:${NOT_SET_TAG:?which one}'}}",
            &["NOT_SET_TAG is not set, or empty: which one"],
        ),
        ("services: {web: {image: x, ports: ['80:99999']}}", &["99999 is no port: ports are 1 to 65535"]),
        (
            "services: {a: {image: x, ports: ['8080:1']}, b: {image: x, ports: ['8080:2']}}",
            &["port 8080/tcp of the node is taken: the service a publishes it already"],
        ),
        (
            "services: {web: {image: x, volumes: ['./nowhere:/x']}}",
            &["nowhere does not exist", "create it first"],
        ),
        ("services: {web: {build: ./nowhere}}", &["nowhere does not exist"]),
        (
            "services:\n  web:\n    image: x\n    restart: sometimes\n",
            &["shop/compose.yaml:4:14", "no restart policy \"sometimes\""],
        ),
    ] {
        let file = cluster.file("shop", text);
        let said = cluster.run(["up", "-f", &file]).fails_with(2);
        for word in words {
            assert!(said.contains(word), "{text}\nshould say {word:?}:\n{said}");
        }
        assert!(said.contains("nothing was changed"), "{said}");
    }
    assert_eq!(before, (cluster.replicas("shop"), cluster.json(["events"])));
}

#[test]
fn an_image_that_does_not_exist_is_said_before_anything_is_changed() {
    let cluster = Cluster::start();
    let file = cluster
        .file("shop", "services: {web: {image: gantry-e2e/probe}, db: {image: gantry-e2e/there-is-none}}");
    let said = cluster.run(["up", "-f", &file]).fails_with(1);
    assert!(said.contains("image gantry-e2e/there-is-none") && said.contains("cannot be pulled"), "{said}");
    assert!(cluster.ok(["ls", "-q"]).is_empty() && cluster.containers().is_empty());

    let never =
        cluster.file("shop", "services: {web: {image: gantry-e2e/there-is-none, pull_policy: never}}");
    let said = cluster.run(["up", "-f", &never]).fails_with(1);
    assert!(said.contains("may not be pulled"), "{said}");
}

#[test]
fn a_build_that_fails_shows_its_output() {
    let cluster = Cluster::start();
    let file = cluster.file("built", "services: {web: {build: .}}");
    let folder = Path::new(&file).parent().unwrap().to_owned();
    fs::write(folder.join("Dockerfile"), "FROM gantry-e2e/probe\nRUN [\"/probe\", \"print\", \"so far so good\"]\nRUN [\"/probe\", \"exit\", \"3\"]\n").unwrap();
    let said = cluster.run(["up", "-f", &file]).fails_with(1);
    for words in
        ["so far so good", "ending with 3", "image built-web cannot be built", "returned a non-zero code: 3"]
    {
        assert!(said.contains(words), "should say {words:?}:\n{said}");
    }
    assert!(cluster.ok(["ls", "-q"]).is_empty());

    fs::write(folder.join("Dockerfile"), "FORM scratch\n").unwrap();
    let said = cluster.run(["up", "-f", &file]).fails_with(1);
    assert!(said.contains("FORM"), "{said}");
}

#[test]
fn what_is_built_is_deployed_and_built_again_when_asked() {
    let cluster = Cluster::start();
    let file = cluster.file("built", "services: {web: {build: {context: ., args: {WORD: first}}}}");
    let folder = Path::new(&file).parent().unwrap().to_owned();
    fs::write(folder.join("Dockerfile"), "FROM gantry-e2e/probe\nARG WORD\nENV WORD=$WORD\n").unwrap();
    let word = |cluster: &Cluster| cluster.ok(["exec", "-T", "built/web", "/probe", "env", "WORD"]);
    cluster.ok(["up", "-f", &file, "--build"]);
    assert_eq!(word(&cluster), "first\n");
    fs::write(&file, "services: {web: {build: {context: ., args: {WORD: second}}}}").unwrap();
    cluster.ok(["up", "-f", &file]);
    assert_eq!(word(&cluster), "first\n", "it is there already");
    cluster.ok(["up", "-f", &file, "--build"]);
    assert_eq!(word(&cluster), "second\n", "the name stands for another image now");
    gantry_e2e::docker_may_fail(["rmi", "-f", "built-web"]);
}

#[test]
fn what_a_node_does_not_have_fails_with_the_engines_words() {
    let cluster = Cluster::start();
    // The tool sees that the folder is there; the engine says what it makes of it.
    let file = cluster.file("gone", "services: {web: {image: gantry-e2e/probe, volumes: ['./soon:/x']}}");
    let soon = Path::new(&file).with_file_name("soon");
    fs::create_dir(&soon).unwrap();
    cluster.ok(["up", "-f", &file]);
    fs::remove_dir(&soon).unwrap();
    cluster.ok(["scale", "gone/web=2", "--detach"]);
    gantry_e2e::eventually("the second replica fails", || {
        let replicas = cluster.replicas("gone");
        let second = replicas.iter().find(|replica| replica["slot"] == 2)?;
        let message = second["message"].as_str()?;
        (second["state"] == "failed" && message.contains("bind source path does not exist")).then_some(())
    });
    assert!(!soon.exists(), "it is never made");

    let external = cluster.file("ext", "services: {web: {image: gantry-e2e/probe, volumes: ['data:/x']}}\nvolumes: {data: {external: true, name: e2e-not-there}}");
    cluster.ok(["up", "-f", &external, "--detach"]);
    gantry_e2e::eventually("the missing volume is named", || {
        let message = cluster.replicas("ext").first()?["message"].as_str()?.to_owned();
        message.contains("the external volume e2e-not-there does not exist: make it with").then_some(())
    });
    gantry_e2e::docker(["volume", "create", "e2e-not-there"]);
    gantry_e2e::eventually("it starts by itself then", || {
        (cluster.replicas("ext")[0]["state"] == "running").then_some(())
    });
    cluster.ok(["down", "ext", "-v"]);
    assert_eq!(
        gantry_e2e::docker(["volume", "rm", "e2e-not-there"]),
        "e2e-not-there",
        "an external volume stays"
    );
}

#[test]
fn wrong_arguments_say_what_is_right() {
    let cluster = Cluster::start();
    let file = cluster.file("shop", "services: {web: {image: gantry-e2e/probe}}");
    cluster.ok(["up", "-f", &file]);
    for (args, code, words) in [
        (&["up", "-f", "/nowhere/compose.yaml"][..], 2, "cannot read /nowhere/compose.yaml"),
        (&["up"], 2, "there is no compose.yaml here"),
        (&["scale", "shop/web"], 2, "is no SERVICE=COUNT, such as web=3"),
        (&["scale", "shop/web=many"], 2, "is no SERVICE=COUNT"),
        (&["scale", "shop/web=99999"], 2, "at most 10000"),
        (&["scale", "shop/nobody=1"], 1, "has no service nobody; it has web"),
        (&["scale", "web=1"], 2, "which stack?"),
        (&["down", "nothing"], 1, "there is no stack nothing: `gantry ls` shows those that are"),
        (&["logs", "shop/web", "--since", "yesterday"], 2, "write 10m for ten minutes ago"),
        (&["up", "-f", &file, "--timeout", "soon"], 2, "write 30s, 5m or 1h30m"),
        (&["rm"], 2, "which services?"),
        (&["volume", "rm", "data"], 2, "is no STACK/VOLUME"),
        (&["volume", "rm", "shop/data"], 1, "there is no volume shop/data"),
        (&["--context", "elsewhere", "ps"], 2, "there is no context \"elsewhere\""),
        (&["--host", "127.0.0.1:1", "ps"], 1, "cannot reach the scheduler at 127.0.0.1:1"),
        (&["init", "--name", "Bad Name"], 2, "is no name for a cluster"),
        (&["init", "--pool", "10.0.0.0/24"], 2, "is too small"),
        (&["init", "--mtu", "9"], 2, "cannot work"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
    ] {
        let run = cluster.run(args);
        assert_eq!(run.code, Some(code), "{run}");
        assert!(run.stderr.contains(words), "should say {words:?}: {run}");
    }
    // What times out says so with a code of its own.
    let file = cluster.file("slow", "services: {web: {image: gantry-e2e/probe, healthcheck: {test: [CMD, /probe, exists, /no], interval: 1s, start_period: 60s}}}");
    let said = cluster.run(["up", "-f", &file, "--timeout", "2s"]).fails_with(4);
    assert!(said.contains("slow is not there after 2 s") && said.contains("web: checking"), "{said}");
}

#[test]
fn a_port_of_another_stack_is_refused_and_one_of_another_program_is_told() {
    let cluster = Cluster::start();
    let one = cluster.file("one", "services: {web: {image: gantry-e2e/probe, ports: ['18081:8080']}}");
    let two = cluster.file("two", "services: {web: {image: gantry-e2e/probe, ports: ['18081:8080']}}");
    cluster.ok(["up", "-f", &one]);
    let said = cluster.run(["up", "-f", &two]).fails_with(1);
    assert!(said.contains("port 18081/tcp, which one/web has already"), "{said}");
    assert_eq!(cluster.ok(["ls", "-q"]), "one\n");

    let taken = std::net::TcpListener::bind("0.0.0.0:18082").unwrap();
    let three = cluster.file("three", "services: {web: {image: gantry-e2e/probe, ports: ['18082:8080']}}");
    let words = "cannot listen on 0.0.0.0:18082/tcp for three/web: another program has this port";
    let up = cluster.run(["up", "-f", &three]);
    assert!(up.code == Some(0) && up.stderr.contains(words), "a warning: {up}");
    gantry_e2e::eventually("it is an event too", || cluster.ok(["events"]).contains(words).then_some(()));
    drop(taken);
    gantry_e2e::eventually("it is served when the port is free", || {
        gantry_e2e::get("http://127.0.0.1:18082/", None).ok().filter(|page| page.status == 200)
    });
}
