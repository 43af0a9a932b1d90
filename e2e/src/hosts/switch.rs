//! The bridge that hosts are connected to, and the way out through this machine.

use std::process::Command;

use super::site::{Made, Occupied, Site};
use crate::command::Run;

/// The last byte of this machine's address there.
const MACHINE: u8 = 254;

/// Runs `ip` with the words of a line.
pub fn ip(line: &str) -> Run {
    Run::of(Command::new("ip").args(line.split(' ')))
}

/// Makes the switch of a site.
pub fn make(site: &Occupied) {
    site.note(&Made::Switch);
    let site = site.site();
    let (name, address) = (site.name(), gateway(site));
    ip(&format!("link add {name} type bridge")).ok();
    ip(&format!("addr add {address}/24 dev {name}")).ok();
    ip(&format!("link set {name} up")).ok();
    for rule in rules(site) {
        iptables(&rule, "-I").ok();
    }
}

/// Removes it; what of it is not there does not matter.
pub fn remove(site: &Site) {
    for rule in rules(site) {
        // As often as it is there: a killed run may have been between two steps.
        for _ in 0..10 {
            if iptables(&rule, "-D").code != Some(0) {
                break;
            }
        }
    }
    ip(&format!("link del {}", site.name()));
}

/// The way out of a host.
pub fn gateway(site: &Site) -> String {
    site.address(MACHINE).to_string()
}

/// Table, chain and rule. An engine of this machine's drops what crosses bridges that are not its own,
/// and hosts get to package mirrors by this machine's address.
fn rules(site: &Site) -> Vec<(&'static str, &'static str, String)> {
    let (name, range) = (site.name(), site.range());
    vec![
        ("filter", "FORWARD", format!("-i {name} -j ACCEPT")),
        ("filter", "FORWARD", format!("-o {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")),
        ("nat", "POSTROUTING", format!("-s {range} ! -o {name} -j MASQUERADE")),
    ]
}

fn iptables((table, chain, rule): &(&str, &str, String), action: &str) -> Run {
    let mut command = Command::new("iptables");
    command.args(["-w", "-t", table, action, chain]).args(rule.split(' '));
    // So that somebody who lists the rules knows whose they are.
    let name = "gantry-e2e";
    Run::of(command.args(["-m", "comment", "--comment", name]))
}
