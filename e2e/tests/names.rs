//! Containers find each other: names, aliases, isolation, rotation, and the world outside.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::collections::BTreeSet;
use std::net::UdpSocket;

use gantry_e2e::{Cluster, docker, eventually, get};
use serde_json::Value;

fn address(cluster: &Cluster, stack: &str, service: &str, slot: u64, network: &str) -> String {
    let replicas = cluster.replicas(stack);
    let replica = replicas
        .iter()
        .find(|replica| replica["service"] == format!("{stack}/{service}") && replica["slot"] == slot)
        .unwrap();
    replica["addresses"][network].as_str().unwrap().to_owned()
}

/// What a container gets when it looks a name up.
fn resolve(from: &str, name: &str) -> Result<BTreeSet<String>, String> {
    let page = get(&format!("http://{from}:8080/resolve/{name}"), None).unwrap();
    match page.status {
        200 => Ok(page.body.lines().map(str::to_owned).collect()),
        _ => Err(page.body),
    }
}

#[test]
fn services_are_found_by_name_alias_and_full_name_and_only_on_shared_networks() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "names",
        r"
services:
  front: {image: gantry-e2e/probe, networks: [edge, inner]}
  api: {image: gantry-e2e/probe, deploy: {replicas: 3, endpoint_mode: dnsrr}, networks: {inner: {aliases: [backend, Api-V2]}}}
  lonely: {image: gantry-e2e/probe, networks: [edge]}
networks: {edge: , inner: {internal: true}}
",
    );
    cluster.ok(["up", "-f", &file]);
    let front = address(&cluster, "names", "front", 1, "edge");
    let lonely = address(&cluster, "names", "lonely", 1, "edge");
    let api: BTreeSet<String> =
        (1..=3).map(|slot| address(&cluster, "names", "api", slot, "inner")).collect();

    // One ready replica at a time, in rotation; all of them in the end.
    for name in ["api", "api.names", "backend", "api-v2", "API"] {
        let answers: Vec<_> = (0..6).map(|_| resolve(&front, name).unwrap()).collect();
        assert!(answers.iter().all(|answer| answer.len() == 1), "{name}: {answers:?}");
        let seen: BTreeSet<String> = answers.into_iter().flatten().collect();
        assert_eq!(seen, api, "{name}");
    }
    assert_eq!(resolve(&front, "tasks.api").unwrap(), api);
    assert_eq!(get(&format!("http://{front}:8080/fetch/api:8080"), None).unwrap().status, 200);

    // Who shares no network knows nothing and reaches nothing.
    assert!(resolve(&lonely, "api").is_err());
    assert!(resolve(&lonely, "front").is_ok());
    let one = api.first().unwrap();
    assert_eq!(get(&format!("http://{lonely}:8080/fetch/{one}:8080"), None).unwrap().status, 502);

    // Nothing ready: the name is known, and the answer is to try again.
    cluster.ok(["scale", "names/api=0"]);
    let error = eventually("the name has no address", || resolve(&front, "api").err());
    assert!(
        error.contains("Temporary failure")
            || error.contains("Try again")
            || error.contains("not known")
            || error.contains("No address"),
        "{error}"
    );
    cluster.ok(["scale", "names/api=2"]);
    assert_eq!(resolve(&front, "tasks.api").unwrap().len(), 2);
}

#[test]
fn an_unready_replica_gets_no_requests_but_its_peers_find_it() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "ready",
        r#"
services:
  web:
    image: gantry-e2e/probe
    deploy: {replicas: 2}
    healthcheck: {test: ["CMD", "/probe", "exists", "/tmp/ok"], interval: 1s, retries: 1}
    tmpfs: /tmp
    x-gantry: {heal: {off: true}} # it stays as it is, instead of being restarted
  client: {image: gantry-e2e/probe}
"#,
    );
    cluster.ok(["up", "-f", &file, "--detach"]);
    eventually("all run", || {
        (cluster
            .replicas("ready")
            .iter()
            .filter(|replica| !replica["started"].as_str().unwrap().is_empty())
            .count()
            == 3)
            .then_some(())
    });
    let client = address(&cluster, "ready", "client", 1, "default");
    let first = address(&cluster, "ready", "web", 1, "default");
    eventually("peers are found before they are ready", || {
        resolve(&client, "tasks.web").ok().filter(|found| found.len() == 2)
    });
    // The service has an address of its own, and nobody behind it yet: who asks waits.
    let own = resolve(&client, "web").unwrap();
    assert!(own.len() == 1 && !own.contains(&first), "{own:?}");
    let ask = || get(&format!("http://{client}:8080/fetch/web:8080"), None).unwrap();
    assert_eq!(ask().status, 502);

    get(&format!("http://{first}:8080/write/tmp/ok"), None).unwrap();
    let healthy = get(&format!("http://{first}:8080/"), None).unwrap().body;
    eventually("the healthy one answers", || Some(ask()).filter(|page| page.status == 200));
    for _ in 0..20 {
        let page = ask();
        assert_eq!(
            (page.status, page.body.as_str()),
            (200, healthy.as_str()),
            "only the healthy one is asked"
        );
    }
    assert_eq!(resolve(&client, "web").unwrap(), own, "the address stays");
}

/// Sends bytes by UDP to port 53 and prints the answer.
const SEND: &str = "import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], 53))
print(s.recv(1500).hex())";

/// A question on the wire, from a container's network, to that network's name server.
fn ask(container: &str, server: &str, name: &str, kind: u16) -> Vec<u8> {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.push(0);
    question.extend(kind.to_be_bytes());
    question.extend([0, 1]);
    let question = question.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let process = docker(["inspect", "-f", "{{.State.Pid}}", container]);
    let run = gantry_e2e::Run::of(std::process::Command::new("nsenter").args([
        "-t",
        process.trim(),
        "-n",
        "python3",
        "-c",
        SEND,
        server,
        &question,
    ]));
    let answer = run.ok();
    let answer = answer.trim();
    (0..answer.len()).step_by(2).map(|at| u8::from_str_radix(&answer[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn answers_on_the_wire_are_as_designed() {
    let cluster = Cluster::start();
    let file =
        cluster.file("wire", "services: {web: {image: gantry-e2e/probe, deploy: {endpoint_mode: dnsrr}}}");
    cluster.ok(["up", "-f", &file]);
    let container = cluster.replicas("wire")[0]["container"].as_str().unwrap().to_owned();
    let network: Value = serde_json::from_str(&docker(["network", "inspect", "wire_default"])).unwrap();
    let gateway = network[0]["IPAM"]["Config"][0]["Gateway"].as_str().unwrap();

    let code = |answer: &[u8]| answer[3] & 0xf;
    let count = |answer: &[u8]| u16::from_be_bytes([answer[6], answer[7]]);
    let a =
        eventually("the name is known", || Some(ask(&container, gateway, "web", 1)).filter(|a| code(a) == 0));
    assert_eq!(count(&a), 1);
    // The last record: name, type, class, TTL, length, address.
    let record = &a[a.len() - 16..];
    assert_eq!(&record[2..12], [0, 1, 0, 1, 0, 0, 0, 1, 0, 4], "an A record with a TTL of one second");
    let expected = address(&cluster, "wire", "web", 1, "default");
    assert_eq!(record[12..].iter().map(ToString::to_string).collect::<Vec<_>>().join("."), expected);
    let aaaa = ask(&container, gateway, "web", 28);
    assert_eq!((code(&aaaa), count(&aaaa)), (0, 0), "AAAA is empty, not an error");
    let reversed = expected.split('.').rev().collect::<Vec<_>>().join(".");
    assert_eq!(
        code(&ask(&container, gateway, &format!("{reversed}.in-addr.arpa"), 12)),
        3,
        "nobody outside is asked about our addresses"
    );

    // The container's file names this server and no inherited search domain.
    let conf = docker(["exec", &container, "/probe", "env", "HOME"]);
    assert!(!conf.contains("nameserver"));
    let page = get(&format!("http://{expected}:8080/file/etc/resolv.conf"), None).unwrap().body;
    assert!(page.contains(&format!("nameserver {gateway}\n")) && !page.contains("search"), "{page}");
}

#[test]
fn the_world_outside_is_asked_of_the_nodes_or_the_services_own_name_servers() {
    let cluster = Cluster::start();
    // A name server of our own, which answers everything with one address.
    let server = UdpSocket::bind("172.17.0.1:53").or_else(|_| UdpSocket::bind("127.0.0.1:0")).unwrap();
    let bound = server.local_addr().unwrap();
    assert_eq!(bound.port(), 53, "the default bridge's address is this host's");
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut question) {
            let mut answer = question[..length].to_vec();
            // Question only: whatever the asker added behind it is not repeated.
            let end = 12 + answer[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let is_a = answer[end - 4..end - 2] == [0, 1];
            answer.truncate(end);
            answer[2] = 0x81;
            answer[3] = 0x80;
            answer[6..12].copy_from_slice(&[0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 99]);
            }
            server.send_to(&answer, from).unwrap();
        }
    });
    let file = cluster.file(
        "world",
        "services: {web: {image: gantry-e2e/probe, dns: 172.17.0.1, deploy: {endpoint_mode: dnsrr}}}",
    );
    cluster.ok(["up", "-f", &file]);
    let web = address(&cluster, "world", "web", 1, "default");
    assert_eq!(resolve(&web, "www.gantry-test.example").unwrap(), BTreeSet::from(["192.0.2.99".to_owned()]));
    assert_eq!(resolve(&web, "web").unwrap(), BTreeSet::from([web.clone()]), "its own names stay its own");
}
