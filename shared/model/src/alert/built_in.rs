//! The rules that Gantry has by itself. The watchdog says when each holds.

use std::time::Duration;

use super::AlertSeverity::{self, Critical, Warning};

/// A rule that Gantry has by itself.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// It must hold for so long before the alert begins.
    pub hold: Duration,
    /// What it says.
    pub about: &'static str,
}

const fn rule(name: &'static str, severity: AlertSeverity, seconds: u64, about: &'static str) -> BuiltIn {
    BuiltIn { name, severity, hold: Duration::from_secs(seconds), about }
}

/// Every built-in rule.
pub const BUILT_IN: &[BuiltIn] = &[
    rule("service-down", Critical, 30, "a service that was ready has no ready replica, and is to have some"),
    rule("service-below-wanted", Warning, 30, "a service has fewer ready replicas than it is to have"),
    rule("crash-loop", Warning, 0, "a replica's process ended three times within 10 minutes"),
    rule(
        "circuit-open",
        Critical,
        0,
        "three or more, and more than half, of a service's replicas are in trouble at once, so repairs are trials",
    ),
    rule("no-room", Warning, 5, "a replica waits because no node has enough processor time or memory left"),
    rule("bottleneck-elsewhere", Warning, 0, "a service is too slow, and more replicas have not helped"),
    rule("error-rate", Warning, 60, "more than 5% of a service's requests fail"),
    rule("node-lost", Critical, 0, "a node is gone"),
    rule("nodes-held", Critical, 0, "more than half of the nodes went silent at once, so none is given up"),
    rule(
        "node-quarantined",
        Warning,
        0,
        "replicas of several services failed on a node, so it gets nothing new",
    ),
    rule(
        "path-broken",
        Warning,
        30,
        "a node cannot reach another over a network, or its engine has a problem",
    ),
    rule("disk-full", Warning, 30, "a node's disk is nearly full"),
    rule("certificate-expiring", Warning, 0, "a certificate is about to expire and was not renewed"),
];

/// The built-in rule of a name.
pub fn find_built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|rule| rule.name == name)
}
