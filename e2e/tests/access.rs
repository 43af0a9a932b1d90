//! Who may do what: certificates that are missing, wrong or too old, and roles.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::fs;
use std::time::{Duration, SystemTime};

use gantry_e2e::{Cluster, docker_may_fail};
use gantry_identity::{Authority, Bundle, Grant, Identity, Role};
use serde_json::Value;

/// The cluster's own CA, as only its host can read it.
fn authority(cluster: &Cluster) -> Authority {
    let read = |name: &str| {
        let from = format!("{}:/var/lib/gantry/ca/{name}", cluster.container("scheduler"));
        let to = cluster.folder().join(name);
        docker_may_fail(["cp", &from, to.to_str().unwrap()]).ok();
        fs::read_to_string(to).unwrap()
    };
    Authority::load(&read("ca.pem"), &read("ca.key")).unwrap()
}

fn grant(cluster: &str, role: Role, name: &str, from: SystemTime) -> Grant {
    let identity = Identity { cluster: cluster.parse().unwrap(), role, name: name.into() };
    Grant { identity, hosts: vec!["localhost".into()], from, lifetime: Duration::from_hours(1) }
}

/// Uses another certificate from now on.
fn become_(cluster: &Cluster, bundle: &Bundle) {
    let mut context: Value =
        serde_json::from_str(&fs::read_to_string(cluster.context_file()).unwrap()).unwrap();
    context["ca"] = bundle.ca.clone().into();
    context["certificate"] = bundle.certificate.clone().into();
    context["key"] = bundle.key.clone().into();
    fs::write(cluster.context_file(), context.to_string()).unwrap();
}

#[test]
fn certificates_that_are_wrong_are_refused_in_words_that_help() {
    let cluster = Cluster::start();
    let (own, id) = (authority(&cluster), cluster.id());
    let now = SystemTime::now();

    // The time of this one is over.
    become_(&cluster, &own.issue(&grant(&id, Role::Admin, "late", now - Duration::from_hours(25))).unwrap());
    let said = cluster.run(["ps"]).fails_with(1);
    assert!(said.contains("this certificate expired 24 hours ago: ask an admin"), "{said}");
    become_(&cluster, &own.issue(&grant(&id, Role::Admin, "early", now + Duration::from_hours(25))).unwrap());
    assert!(cluster.run(["ps"]).fails_with(1).contains("is this machine's clock right?"));

    // Another CA made it, and the cluster's CA is trusted all the same.
    let other = Authority::create(&id.parse().unwrap(), now).unwrap();
    let foreign = other.issue(&grant(&id, Role::Admin, "mallory", now)).unwrap();
    become_(&cluster, &Bundle { ca: own.certificate().to_owned(), ..foreign.clone() });
    let said = cluster.run(["ps"]).fails_with(1);
    assert!(said.contains("do not belong together") && said.contains("gantry context ls"), "{said}");
    // It trusts another CA: the scheduler is not who it should be.
    become_(&cluster, &foreign);
    let said = cluster.run(["ps"]).fails_with(1);
    assert!(said.contains("do not belong together"), "{said}");

    // The right CA, but another cluster's name in it.
    become_(&cluster, &own.issue(&grant("elsewhere", Role::Admin, "ada", now)).unwrap());
    let said = cluster.run(["ps"]).fails_with(1);
    assert!(said.contains("the certificate is of cluster elsewhere"), "{said}");

    // What is no certificate at all.
    become_(&cluster, &Bundle { ca: "x".into(), certificate: "y".into(), key: "z".into() });
    assert!(cluster.run(["ps"]).fails_with(1).contains("cannot be used"));
    fs::write(cluster.context_file(), "{").unwrap();
    assert!(cluster.run(["ps"]).fails_with(1).contains("is broken"));
    fs::remove_file(cluster.context_file()).unwrap();
    let said = cluster.run(["ps"]).fails_with(1);
    assert!(said.contains("no cluster is known here") && said.contains("gantry init"), "{said}");
    cluster.init();
    cluster.ok(["ps"]);
}

#[test]
fn without_a_certificate_nobody_gets_in() {
    let cluster = Cluster::start();
    for address in [cluster.address(), cluster.agent_address()] {
        // TLS without a client certificate: an agent ends it. Whoever wants to join has none yet, so a
        // scheduler reads the call, and answers that it is not for strangers (UNAUTHENTICATED).
        let run = gantry_e2e::Run::of(std::process::Command::new("curl").args([
            "-sS",
            "-i",
            "-k",
            "--http2",
            "--max-time",
            "5",
            &format!("https://{address}/grpc.health.v1.Health/Check"),
        ]));
        let refused = if address == cluster.address() {
            run.stdout.contains("grpc-status: 16")
        } else {
            run.code != Some(0) && !run.stderr.contains("timed out")
        };
        assert!(refused, "{run}");
        // And in plain text there is nothing to talk to.
        let run = gantry_e2e::Run::of(std::process::Command::new("curl").args([
            "-sS",
            "--max-time",
            "5",
            &format!("http://{address}/"),
        ]));
        assert_ne!(run.code, Some(0), "{run}");
    }
}

#[test]
fn roles_go_as_far_as_the_table_says() {
    let cluster = Cluster::start();
    let (own, id) = (authority(&cluster), cluster.id());
    let role = |role| own.issue(&grant(&id, role, "ada", SystemTime::now())).unwrap();
    let file = cluster.file("shop", "services: {web: {image: gantry-e2e/probe}}");
    let powerful = cluster.file(
        "power",
        "services: {web: {image: gantry-e2e/probe, network_mode: host, command: [serve, '18090']}}",
    );

    become_(&cluster, &role(Role::Operator));
    cluster.ok(["up", "-f", &file]);
    let said = cluster.run(["up", "-f", &powerful]).fails_with(1);
    assert!(said.contains("network_mode: host, which makes it root on its node: only an admin"), "{said}");
    let said = cluster.run(["container", "create", "-v", "/:/host", "gantry-e2e/probe"]).fails_with(1);
    assert!(said.contains("only an admin may create it"), "{said}");

    become_(&cluster, &role(Role::Viewer));
    cluster.ok(["ps"]);
    cluster.ok(["logs", "shop/web"]);
    for args in [
        &["scale", "shop/web=2"][..],
        &["down", "shop"],
        &["exec", "-T", "shop/web", "/probe", "env", "A"],
        &["up", "-f", &file],
    ] {
        let said = cluster.run(args).fails_with(1);
        assert!(
            said.contains("the role viewer may not call") && said.contains("it takes admin or operator"),
            "{said}"
        );
    }
    assert_eq!(cluster.replicas("shop").len(), 1);

    // A node's certificate opens sessions, and nothing for people.
    become_(&cluster, &role(Role::Node));
    assert!(cluster.run(["ps"]).fails_with(1).contains("the role node may not call"));
    become_(&cluster, &role(Role::Admin));
    cluster.ok(["up", "-f", &powerful]);
}

#[test]
fn the_context_is_for_its_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let cluster = Cluster::start();
    let mode = fs::metadata(cluster.context_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
