//! What may be wrong with a host's cable.

use std::process::{Command, Stdio};

use super::host::Host;
use super::switch::ip;
use crate::command::Run;

/// The table that loses packets, right at the cable, where nobody who sends or waits is told. It is gone
/// with the namespace.
const FAULTS: &str = "netdev e2e_faults";

impl Host {
    /// Pulls its cable: nothing gets in or out, and the host sees that.
    pub fn cut(&self) {
        ip(&format!("link set {} down", self.namespace())).ok();
    }

    /// Loses everything that is sent to it; what it sends arrives.
    pub fn deafen(&self) {
        self.lose("arriving", "");
    }

    /// Loses everything that it sends; what is sent to it arrives.
    pub fn mute(&self) {
        self.lose("leaving", "");
    }

    /// Loses what another host sends to it: one way only, see [`super::Hosts::part`].
    pub fn ignore(&self, other: &Self) {
        self.lose("arriving", &format!("ip saddr {}", other.address()));
    }

    /// Lets so many kilobits per second through, each way.
    pub fn slow(&self, kilobits: u32) {
        let shape = format!("root tbf rate {kilobits}kbit burst 16kb latency 400ms");
        for run in self.queues("replace", &shape) {
            run.ok();
        }
    }

    /// Ends all faults of its cable.
    pub fn heal(&self) {
        ip(&format!("link set {} up", self.namespace())).ok();
        // A table that is not there cannot be deleted, so it is made first.
        self.nft(&format!("table {FAULTS} {{}}\ndelete table {FAULTS}\n"));
        // Fails where nothing was slowed.
        self.queues("del", "root");
    }

    fn lose(&self, chain: &str, rule: &str) {
        self.nft(&format!(
            "table {FAULTS} {{
                chain arriving {{ type filter hook ingress device eth0 priority 0; }}
                chain leaving {{ type filter hook egress device eth0 priority 0; }}
            }}
            add rule {FAULTS} {chain} {rule} drop\n"
        ));
    }

    fn nft(&self, rules: &str) {
        use std::io::Write as _;
        // Not as one of the host's processes: they may be frozen.
        let mut command = Command::new("ip");
        let mut child = command
            .args(["netns", "exec", &self.namespace(), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "nft refused:\n{rules}");
    }

    /// Changes the queues at both ends of its cable.
    fn queues(&self, verb: &str, what: &str) -> [Run; 2] {
        let name = self.namespace();
        let ends =
            [format!("qdisc {verb} dev {name} {what}"), format!("-n {name} qdisc {verb} dev eth0 {what}")];
        ends.map(|line| Run::of(Command::new("tc").args(line.split(' '))))
    }
}
