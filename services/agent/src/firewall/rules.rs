//! The text of the table. Pure.

use std::net::IpAddr;

use crate::managed::{Networks, Redirect, Segment};
use crate::overlay::{PORT, probes};

/// Removes the table, whether it is there or not.
pub fn gone(table: &str) -> String {
    format!("add table inet {table}\ndelete table inet {table}\n")
}

/// The whole table, as one transaction for `nft -f`.
///
/// What is accepted here may still be refused by chains of others that come later; what is dropped here is.
pub fn rules(table: &str, networks: &Networks) -> String {
    let lead = lead(networks.redirect.as_ref());
    [
        gone(table),
        format!("table inet {table} {{\n"),
        members(&networks.members),
        FRAMES.to_owned(),
        chain("pre", "type nat hook prerouting priority dstnat - 5", &lead),
        chain("out", "type nat hook output priority -105", &lead),
        chain("in", "type filter hook input priority filter - 5", &input(networks)),
        chain("forward", "type filter hook forward priority filter - 5", &forward(networks)),
        "}\n".to_owned(),
    ]
    .concat()
}

/// Frames of the overlay are taken from the cluster's nodes only. A container can write any sender's address
/// on a packet, but the way back to a node does not lead to a container's bridge.
const FRAMES: &str = r#"  chain frames {
    meta iifkind { "bridge", "veth" } fib saddr . iif oif missing drop
    ip saddr @members4 accept
    ip6 saddr @members6 accept
    drop
  }
"#;

fn chain(name: &str, hook: &str, rules: &[String]) -> String {
    let hook = format!("{hook}; policy accept;");
    let lines: Vec<&str> = std::iter::once(hook.as_str()).chain(rules.iter().map(String::as_str)).collect();
    format!("  chain {name} {{\n    {}\n  }}\n", lines.join("\n    "))
}

fn members(members: &[IpAddr]) -> String {
    let set = |name: &str, kind: &str, is_v4: bool| {
        let of_kind = members.iter().filter(|member| member.is_ipv4() == is_v4);
        let elements: Vec<String> = of_kind.map(ToString::to_string).collect();
        let elements = if elements.is_empty() {
            String::new()
        } else {
            format!(" elements = {{ {} }};", elements.join(", "))
        };
        format!("  set {name} {{ type {kind};{elements} }}\n")
    };
    set("members4", "ipv4_addr", true) + &set("members6", "ipv6_addr", false)
}

/// Connections to service addresses are redirected before the engine's own rules see them.
fn lead(redirect: Option<&Redirect>) -> Vec<String> {
    let Some(Redirect { range, port }) = redirect else { return Vec::new() };
    vec![
        format!("ip daddr {range} meta l4proto tcp redirect to :{port}"),
        format!("ip daddr {range} meta l4proto icmp redirect"),
    ]
}

/// Names, the proxy and probes can be reached from Gantry's bridges, and from internal ones nothing else of
/// the host can: what it listens on may lead out.
fn input(networks: &Networks) -> Vec<String> {
    let mut rules = Vec::new();
    let numbers: Vec<String> = networks
        .segments
        .iter()
        .filter_map(|segment| segment.overlay.as_ref())
        .map(|overlay| format!("{:#x}", overlay.vni))
        .collect();
    if !numbers.is_empty() {
        // By number, so that two clusters on one host leave each other's frames alone.
        rules.push(format!("udp dport {PORT} @th,96,24 {{ {} }} jump frames", numbers.join(", ")));
    }
    rules.push(r#"iifname "gt-*" meta l4proto { tcp, udp } th dport 53 accept"#.to_owned());
    if let Some(Redirect { port, .. }) = &networks.redirect {
        rules.push(format!(r#"iifname "gt-*" tcp dport {port} accept"#));
    }
    rules.push(format!(r#"iifname "gt-*" udp dport {} accept"#, probes::PORT));
    if let Some(internal) = bridges(networks, |segment| segment.internal) {
        rules.push(format!("iifname {internal} ct state established,related accept"));
        rules.push(format!("iifname {internal} meta l4proto icmp accept"));
        rules.push(format!("iifname {internal} drop"));
    }
    rules
}

/// Containers send no frames to nodes, networks do not reach each other, and nothing gets out of an internal
/// one. What is sent to a service address in another way than the proxy takes has nowhere to go, and is told
/// so instead of leaving the host.
fn forward(networks: &Networks) -> Vec<String> {
    let mut rules = vec![
        format!(r#"iifname "gt-*" udp dport {PORT} drop"#),
        format!("udp dport {PORT} ip daddr @members4 jump frames"),
        format!("udp dport {PORT} ip6 daddr @members6 jump frames"),
    ];
    if let Some(Redirect { range, .. }) = &networks.redirect {
        rules.push(format!("ip daddr {range} reject"));
    }
    if let Some(own) = bridges(networks, |_| true) {
        // Where the kernel shows bridged frames to firewalls, those inside a network pass here.
        let pairs = networks.segments.iter().map(|segment| format!(r#""{0}" . "{0}""#, segment.bridge));
        rules.push(format!("iifname . oifname {{ {} }} accept", pairs.collect::<Vec<_>>().join(", ")));
        rules.push(format!(r#"iifname {own} oifname "gt-*" drop"#));
        rules.push(format!(r#"iifname "gt-*" oifname {own} drop"#));
    }
    if let Some(internal) = bridges(networks, |segment| segment.internal) {
        rules.push(format!("iifname {internal} drop"));
        rules.push(format!("oifname {internal} drop"));
    }
    rules
}

/// The bridges of some networks, as a set; `None` for no network.
fn bridges(networks: &Networks, which: impl Fn(&Segment) -> bool) -> Option<String> {
    let names: Vec<String> = networks
        .segments
        .iter()
        .filter(|segment| which(segment))
        .map(|segment| format!("\"{}\"", segment.bridge))
        .collect();
    (!names.is_empty()).then(|| format!("{{ {} }}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::Joint;

    fn segment(number: u32, internal: bool, joined: bool) -> Segment {
        let overlay = joined.then(|| Joint {
            vni: number,
            local: "192.0.2.1".parse().unwrap(),
            peers: Vec::new(),
            endpoints: Vec::new(),
        });
        Segment {
            name: format!("shop_{number}"),
            bridge: format!("gt-{number:06x}"),
            subnet: "10.192.0.0/19".into(),
            gateway: "10.192.0.1".into(),
            ip_range: "10.192.28.0/30".into(),
            mtu: 1450,
            internal,
            labels: Default::default(),
            overlay,
        }
    }

    fn networks(segments: Vec<Segment>) -> Networks {
        Networks {
            segments,
            redirect: Some(Redirect { range: "10.223.0.0/16".parse().unwrap(), port: 7075 }),
            members: vec!["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()],
        }
    }

    #[test]
    fn the_whole_table_is_replaced_in_one_transaction() {
        let rules = rules("gantry_c1", &networks(Vec::new()));
        let start = "add table inet gantry_c1\ndelete table inet gantry_c1\ntable inet gantry_c1 {";
        assert!(rules.starts_with(start), "{rules}");
        assert_eq!(rules.matches("ip daddr 10.223.0.0/16 meta l4proto tcp redirect to :7075").count(), 2);
        assert_eq!(rules.matches('{').count(), rules.matches('}').count());
    }

    #[test]
    fn frames_of_the_clusters_own_networks_are_looked_at() {
        let with = |joined| rules("t", &networks(vec![segment(0x10_0001, false, joined)]));
        assert!(with(true).contains("udp dport 7074 @th,96,24 { 0x100001 } jump frames"), "{}", with(true));
        assert!(!with(false).contains("@th,96,24"), "a network of this node only has none");
        assert!(with(false).contains("set members4 { type ipv4_addr; elements = { 192.0.2.2 }; }"));
        assert!(with(false).contains("set members6 { type ipv6_addr; elements = { 2001:db8::2 }; }"));
    }

    #[test]
    fn nothing_gets_out_of_an_internal_network() {
        let of = |internal| rules("t", &networks(vec![segment(1, false, true), segment(2, internal, true)]));
        for rule in [r#"iifname { "gt-000002" } drop"#, r#"oifname { "gt-000002" } drop"#] {
            assert!(of(true).contains(rule) && !of(false).contains(rule), "{}", of(true));
        }
    }

    /// Only `nft` knows whether it is its language.
    #[test]
    fn nft_takes_the_table() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};

        for networks in [
            Networks::default(),
            networks(vec![segment(1, false, true), segment(2, true, true), segment(3, true, false)]),
        ] {
            let text = rules("gantry_test", &networks);
            // In a network namespace of its own, and only checked.
            let spawned = Command::new("unshare")
                .args(["--map-root-user", "--net", "nft", "--check", "-f", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let mut child = match spawned {
                Ok(child) => child,
                Err(error) => return eprintln!("skipped: cannot run unshare: {error}"),
            };
            child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("unshare") {
                return eprintln!("skipped: nft cannot be tried here: {said}");
            }
            assert!(output.status.success(), "{said}\n{text}");
        }
    }
}
