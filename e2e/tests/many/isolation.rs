//! Networks of different hosts that are apart, also against somebody who forges.

use std::net::Ipv4Addr;

use gantry_e2e::{Host, HostCluster, Run, eventually};
use serde_json::Value;

use crate::world::{deploy, settles};

const STACK: &str = "
services:
  db: {image: gantry-e2e/probe, networks: [back], deploy: {placement: {constraints: ['node.hostname == h2']}}}
  web: {image: gantry-e2e/probe, networks: [back], deploy: {placement: {constraints: ['node.hostname == h3']}}}
  far: {image: gantry-e2e/probe, networks: [front], deploy: {placement: {constraints: ['node.hostname == h3']}}}
  near: {image: gantry-e2e/probe, networks: [front], deploy: {placement: {constraints: ['node.hostname == h2']}}}
networks: {back: , front: }
";

/// A replica of the stack: where it is, its container and its only address.
struct Replica<'a> {
    host: &'a Host,
    container: String,
    address: Ipv4Addr,
}

fn replica<'a>(cluster: &'a HostCluster, service: &str) -> Replica<'a> {
    let replicas = cluster.replicas("apart");
    let full = format!("apart/{service}");
    let found = replicas.iter().find(|replica| replica["service"] == full.as_str()).unwrap();
    let node = found["node"].as_str().unwrap();
    let addresses = found["addresses"].as_object().unwrap();
    let address = addresses.values().next().and_then(Value::as_str).unwrap();
    Replica {
        host: cluster.hosts().all().find(|host| host.name() == node).unwrap(),
        container: found["container"].as_str().unwrap().to_owned(),
        address: address.parse().unwrap(),
    }
}

impl Replica<'_> {
    fn json(&self, args: &str) -> Value {
        let run = Run::of(self.host.command_in(&self.container, "ip").args(args.split(' ')));
        serde_json::from_str(&run.ok()).unwrap()
    }

    /// The hardware address of its network device.
    fn card(&self) -> [u8; 6] {
        let devices = self.json("-j addr");
        let own = self.address.to_string();
        let has = |device: &&Value| {
            device["addr_info"].as_array().is_some_and(|all| all.iter().any(|it| it["local"] == own.as_str()))
        };
        let device = devices.as_array().unwrap().iter().find(has).expect("it has its address");
        let mut bytes = device["address"].as_str().unwrap().split(':');
        [(); 6].map(|()| u8::from_str_radix(bytes.next().unwrap(), 16).unwrap())
    }

    /// The number of its network's overlay.
    fn overlay(&self) -> u32 {
        let json = |args: &str| -> Value {
            serde_json::from_str(&Run::of(self.host.command("ip").args(args.split(' '))).ok()).unwrap()
        };
        let bridge = json(&format!("-j route get {}", self.address))[0]["dev"].clone();
        let devices = json("-d -j link show type vxlan");
        let found = devices.as_array().unwrap().iter().find(|device| device["master"] == bridge);
        let id = &found.expect("its network has an overlay")["linkinfo"]["info_data"]["id"];
        u32::try_from(id.as_u64().unwrap()).unwrap()
    }

    /// How many packets came to it for a port at which nobody listens.
    fn unwanted(&self) -> u64 {
        let text = Run::of(self.host.command_in(&self.container, "cat").arg("/proc/self/net/snmp")).ok();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names.split(' ').position(|name| name == "NoPorts").unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    }
}

/// A packet of the overlay with a frame for `to` in it, that nobody listens to.
fn forged(to: &Replica<'_>) -> Vec<u8> {
    let [a, b, c, _] = to.address.octets();
    // Somebody in the same network.
    let from = Ipv4Addr::new(a, b, c, 199).octets();
    let mut datagram = vec![0x30, 0x39, 0, 9, 0, 12, 0, 0];
    datagram.extend(b"oops");
    let mut header = vec![0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0];
    header.extend(from);
    header.extend(to.address.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![8, 0, 0, 0];
    packet.extend((to.overlay() << 8).to_be_bytes());
    packet.extend(to.card());
    packet.extend([2, 0x47, 0xee, 0, 0, 1, 8, 0]);
    [packet, header, datagram].concat()
}

pub fn networks_are_apart(cluster: &HostCluster) {
    deploy(cluster, "apart", STACK);
    settles(cluster, "apart", 4);
    let [db, web, far, near] = ["db", "web", "far", "near"].map(|name| replica(cluster, name));
    let run = |from: &Replica<'_>, to: &str| {
        from.host.docker_may_fail(["exec", &from.container, "/probe", "check", &format!("{to}:8080")]).code
    };
    // Who is on it resolves and reaches, from another host too.
    for (from, to) in [(&web, "db"), (&db, "web"), (&far, "near"), (&near, "far")] {
        assert_eq!(run(from, to), Some(0), "{to}");
    }
    assert_eq!(run(&web, &db.address.to_string()), Some(0));
    // It does not take a scheduler.
    cluster.kill(1, "scheduler");
    // Who is not does neither, from the same host or from another.
    for from in [&far, &near] {
        for to in ["db", "web", "db.apart", &db.address.to_string(), &web.address.to_string()] {
            assert_ne!(run(from, to), Some(0), "{} reaches {to}", from.container);
        }
    }

    // A frame of the overlay's, sent by a node, arrives: so it is a good one. By anybody else it does not.
    let packet = cluster.folder().join("forged");
    std::fs::write(&packet, forged(&db)).unwrap();
    let line = format!("cat {} >/dev/udp/{}/7074", packet.display(), db.host.address());
    let before = db.unwanted();
    for _ in 0..3 {
        for from in [&far, &near, &web] {
            // It may be refused where it is sent.
            Run::of(from.host.command_in(&from.container, "bash").args(["-c", &line]));
        }
    }
    // Nor is this machine a node.
    Run::of(std::process::Command::new("bash").args(["-c", &line]));
    Run::of(web.host.command("bash").args(["-c", &line])).ok();
    eventually("the node's own frame arrives", || (db.unwanted() > before).then_some(()));
    assert_eq!(db.unwanted(), before + 1, "no other does");
}
