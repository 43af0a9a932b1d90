//! Two hosts with two networks each, in network namespaces of this machine: the agent's interfaces and rules
//! in the kernel, without engines. What is meant to arrive does, and what is forged does not.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

#[path = "overlay/host.rs"]
mod host;
#[path = "overlay/packets.rs"]
mod packets;
#[path = "overlay/spaces.rs"]
mod spaces;

use std::time::{Duration, Instant};

use spaces::{Running, Space, role, run_inside};

const TEST: &str = "networks_reach_across_hosts_and_nothing_forged_gets_in";
/// The first network's number; the second's is the next.
const NUMBER: u32 = 0x10_0001;

/// A host: its name, its address on the underlay, and its containers, one in each network.
struct Host {
    space: Space,
    containers: [Space; 2],
}

/// The underlay: a switch in this namespace, where a stranger is too.
fn underlay() -> Space {
    let own = Space::own();
    own.ip("link set lo up");
    own.ip("link add under type bridge");
    own.ip("link set under up");
    own.ip("addr add 192.0.2.254/24 dev under");
    own
}

fn host(under: &Space, number: u8) -> Host {
    let space = Space::new();
    under.ip(&format!("link add under{number} type veth peer name eth0 netns {}", space.id()));
    under.ip(&format!("link set under{number} master under up"));
    space.ip("link set lo up");
    space.ip(&format!("addr add 192.0.2.{number}/24 dev eth0"));
    space.ip("link set eth0 up");
    space.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    // As an engine does: to others a container looks like its host.
    space.sh(
        "nft 'add table ip engine; add chain ip engine post { type nat hook postrouting priority srcnat; }; \
              add rule ip engine post oifname \"eth0\" masquerade'",
    );
    let containers = [0, 1].map(|network: u8| {
        let bridge = format!("gt-{:06x}", NUMBER + u32::from(network));
        space.ip(&format!("link add {bridge} type bridge"));
        space.ip(&format!("link set {bridge} up"));
        space.ip(&format!("addr add 10.192.{network}.{number}/24 dev {bridge}"));
        let container = Space::new();
        space.ip(&format!("link add veth{network} type veth peer name eth0 netns {}", container.id()));
        space.ip(&format!("link set veth{network} master {bridge} up"));
        let last = 10 + number;
        container.ip("link set lo up");
        container.ip(&format!("link set eth0 address 02:42:0a:c0:0{network}:{last:02x} up"));
        container.ip(&format!("addr add 10.192.{network}.{last}/24 dev eth0"));
        container.ip(&format!("route add default via 10.192.{network}.{number}"));
        container
    });
    Host { space, containers }
}

/// Asks until there is an answer; no answer is one too.
fn reaches(from: &Space, address: &str, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if from.role(TEST, &format!("ask {address}")).wait().unwrap().success() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::ZERO;

#[test]
fn networks_reach_across_hosts_and_nothing_forged_gets_in() {
    if let Some(role) = role() {
        return match role.split(' ').collect::<Vec<_>>().as_slice() {
            ["host", number] => host::run(number.parse().unwrap()),
            ["listen"] => packets::listen(),
            ["ask", address] => packets::ask(address),
            ["forge", to, from, word] => packets::forge(to, from, word),
            other => panic!("{other:?} is no role"),
        };
    }
    if !run_inside(TEST) {
        return;
    }
    let under = underlay();
    let (one, two) = (host(&under, 1), host(&under, 2));
    let [here, other_here] = &one.containers;
    let [there, other_there] = &two.containers;
    let listening = [here, there, other_here, other_there].map(|space| space.role(TEST, "listen"));
    assert!(!reaches(here, "10.192.0.12", SHORT), "nothing joins the networks yet");

    let mut agents = [one.space.role(TEST, "host 1"), two.space.role(TEST, "host 2")];
    assert!(reaches(here, "10.192.0.12", LONG));
    assert!(reaches(other_there, "10.192.1.11", LONG));
    assert!(reaches(&one.space, "10.192.0.12", LONG), "a host reaches the containers of another");
    for stranger in [other_here, other_there, &under] {
        assert!(!reaches(stranger, "10.192.0.11", SHORT) && !reaches(stranger, "10.192.0.12", SHORT));
    }

    // What a container forges is said to come from `from`, which it has given itself.
    let forge = |space: &Space, to: &str, from: &str, word: &str| {
        assert!(space.role(TEST, &format!("forge {to} {from} {word}")).wait().unwrap().success());
    };
    for address in ["192.0.2.1", "192.0.2.2"] {
        other_here.ip(&format!("addr add {address}/32 dev eth0"));
    }
    for (to, word) in [("192.0.2.2", "there"), ("192.0.2.1", "here")] {
        forge(other_here, to, "10.192.1.11", &format!("container-{word}"));
        forge(&under, to, "192.0.2.254", &format!("stranger-{word}"));
    }
    forge(other_here, "192.0.2.2", "192.0.2.1", "as-its-host");
    forge(other_here, "192.0.2.1", "192.0.2.2", "as-the-other-host");
    // The same packet from a member, so that it is the sender that matters.
    forge(&one.space, "192.0.2.2", "192.0.2.1", "member-to-two");
    forge(&two.space, "192.0.2.1", "192.0.2.2", "member-to-one");
    let heard = |space: usize, word: &str| listening[space].said().contains(word);
    let deadline = Instant::now() + LONG;
    while !(heard(1, "member-to-two") && heard(0, "member-to-one")) {
        assert!(Instant::now() < deadline, "{:?}", [0, 1].map(|space: usize| listening[space].said()));
        std::thread::yield_now();
    }
    for said in listening.iter().take(2).map(Running::said) {
        assert!(said.lines().all(|line| !line.starts_with("heard") || line.contains("member-to")), "{said}");
    }

    // Without agents everything goes on, and what is taken away comes back with them.
    for agent in &mut agents {
        agent.stop();
    }
    assert!(reaches(here, "10.192.0.12", LONG));
    one.space.ip(&format!("link del gv-{NUMBER:06x}"));
    assert!(!reaches(here, "10.192.0.12", SHORT));
    agents[0] = one.space.role(TEST, "host 1");
    assert!(reaches(here, "10.192.0.12", LONG));
}
