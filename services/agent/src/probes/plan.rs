//! What of a replica is checked, and where. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gantry_api::agent::v1::ContainerState as State;
use gantry_model::{Check, Goal, Health, HealthProbe, NetworkMode, Timestamp};

use super::gauge::Timing;
use crate::engine::Observed;
use crate::managed::Assignment;

/// Without checks of its own, a replica that has taken connections is out of the routes after so many
/// failures in a row: nobody has said that one means anything.
const DEFAULT_PATIENCE: u32 = 3;

/// One run of a replica's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The engine's id of the container.
    pub container: String,
    /// When it was started.
    pub started_at: Option<Timestamp>,
}

impl Run {
    /// The run that is going on; a paused one is, too.
    pub fn of(observed: Option<&Observed>) -> Option<Self> {
        let observed = observed.filter(|seen| matches!(seen.state, State::Running | State::Paused))?;
        Some(Self { container: observed.id.clone(), started_at: observed.started_at })
    }
}

/// All that is checked of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The run.
    pub run: Run,
    /// Where its ports are; `None` where nobody reaches it.
    pub address: Option<IpAddr>,
    /// The checks; at least one.
    pub checks: Vec<Planned>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What is done.
    pub ask: Ask,
    /// Longer than this it may not take.
    pub timeout: Duration,
    /// When.
    pub timing: Timing,
    /// It says whether the replica may take traffic.
    pub readiness: bool,
    /// It says whether the replica needs a repair.
    pub liveness: bool,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What somebody asked for.
    One(Check),
    /// One of these ports must accept a connection.
    AnyPort(Vec<u16>),
}

impl fmt::Display for Ask {
    /// Says neither queries nor arguments: they may hold what is not for everybody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(Check::Http { port, path, .. }) => {
                write!(f, "GET :{port}{}", path.split('?').next().unwrap_or_default())
            }
            Self::One(Check::Tcp { port }) => write!(f, "connecting to :{port}"),
            Self::One(Check::Grpc { port, service }) if service.is_empty() => {
                write!(f, "gRPC health on :{port}")
            }
            Self::One(Check::Grpc { port, service }) => write!(f, "gRPC health of {service} on :{port}"),
            Self::One(Check::Exec { command }) => {
                write!(f, "{}", command.first().map_or("", String::as_str))
            }
            Self::AnyPort(ports) => {
                let ports: Vec<_> = ports.iter().map(|port| format!(":{port}")).collect();
                write!(f, "connecting to {}", ports.join(", "))
            }
        }
    }
}

/// What is to be checked now; `None` where nothing is.
pub fn plan(desired: Option<&Assignment>, observed: Option<&Observed>) -> Option<Plan> {
    let desired = desired.filter(|desired| desired.goal != Goal::Stop)?;
    let run = Run::of(observed)?;
    let checked_by_engine = observed.is_some_and(|observed| observed.health != Health::None);
    let checks = checks(desired, checked_by_engine);
    if checks.is_empty() {
        return None;
    }
    Some(Plan { run, address: address(desired), checks })
}

/// Where the ports of a replica are, seen from its host; `None` where nobody reaches it.
pub fn address(desired: &Assignment) -> Option<IpAddr> {
    match desired.container.network_mode {
        NetworkMode::Host => Some(Ipv4Addr::LOCALHOST.into()),
        NetworkMode::None => None,
        NetworkMode::Networks => {
            let mut addresses = desired.networks.iter().filter_map(|network| network.ipv4_address.as_ref());
            addresses.find_map(|address| address.parse().ok())
        }
    }
}

fn checks(desired: &Assignment, checked_by_engine: bool) -> Vec<Planned> {
    match (&desired.readiness, &desired.liveness) {
        (Some(readiness), Some(liveness)) if readiness == liveness => vec![asked(readiness, true, true)],
        (None, None) if desired.published_ports.is_empty() || checked_by_engine => Vec::new(),
        (None, None) => {
            // Of many ports some may be of no use right now, such as one for debuggers.
            let default = HealthProbe::new(Check::Tcp { port: 0 });
            let timing = Timing { patience: DEFAULT_PATIENCE, ..Timing::of(&default, true) };
            vec![Planned {
                ask: Ask::AnyPort(desired.published_ports.clone()),
                timeout: default.timeout,
                timing,
                readiness: true,
                liveness: false,
            }]
        }
        (readiness, liveness) => {
            let readiness = readiness.iter().map(|probe| asked(probe, true, false));
            readiness.chain(liveness.iter().map(|probe| asked(probe, false, true))).collect()
        }
    }
}

fn asked(probe: &HealthProbe, readiness: bool, liveness: bool) -> Planned {
    // A process costs the engine much more than a request.
    let eager = !matches!(probe.check, Check::Exec { .. });
    Planned {
        ask: Ask::One(probe.check.clone()),
        timeout: probe.timeout,
        timing: Timing::of(probe, eager),
        readiness,
        liveness,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::tests::{assignment, observed};

    fn http() -> HealthProbe {
        HealthProbe::new(Check::Http {
            port: 80,
            path: "/healthz?token=secret".into(),
            headers: [].into(),
            status: (200, 399),
            body: String::new(),
        })
    }

    #[test]
    fn one_check_for_both_uses_is_made_once() {
        let both = Assignment { readiness: Some(http()), liveness: Some(http()), ..assignment() };
        let planned = plan(Some(&both), Some(&observed())).unwrap();
        assert_eq!(planned.address, Some("10.1.2.3".parse().unwrap()));
        let uses: Vec<_> = planned.checks.iter().map(|check| (check.readiness, check.liveness)).collect();
        assert_eq!(uses, [(true, true)]);

        let liveness = HealthProbe { retries: 9, ..http() };
        let apart = Assignment { liveness: Some(liveness), ..both };
        let planned = plan(Some(&apart), Some(&observed())).unwrap();
        let uses: Vec<_> = planned.checks.iter().map(|check| (check.readiness, check.liveness)).collect();
        assert_eq!(uses, [(true, false), (false, true)]);
    }

    #[test]
    fn published_ports_are_tried_only_where_nothing_else_checks() {
        let published = Assignment { published_ports: vec![80, 81], ..assignment() };
        let planned = plan(Some(&published), Some(&observed())).unwrap();
        assert_eq!(planned.checks[0].ask, Ask::AnyPort(vec![80, 81]));
        assert_eq!((planned.checks[0].readiness, planned.checks[0].liveness), (true, false));
        for health in [Health::Starting, Health::Healthy, Health::Unhealthy] {
            let checked = Observed { health, ..observed() };
            assert_eq!(plan(Some(&published), Some(&checked)), None, "the image has a check of its own");
        }
        let own = Assignment { liveness: Some(http()), ..published };
        assert_eq!(plan(Some(&own), Some(&observed())).unwrap().checks.len(), 1);
    }

    #[test]
    fn only_a_process_that_runs_and_may_go_on_is_checked() {
        let desired = Assignment { readiness: Some(http()), ..assignment() };
        for (goal, checked) in [(Goal::Run, true), (Goal::Drain, true), (Goal::Stop, false)] {
            let desired = Assignment { goal, ..desired.clone() };
            assert_eq!(plan(Some(&desired), Some(&observed())).is_some(), checked, "{goal:?}");
        }
        for (state, checked) in [
            (State::Running, true),
            (State::Paused, true),
            (State::Restarting, false),
            (State::Exited, false),
        ] {
            let observed = Observed { state, ..observed() };
            assert_eq!(plan(Some(&desired), Some(&observed)).is_some(), checked, "{state:?}");
        }
        assert_eq!(plan(None, Some(&observed())), None);
        assert_eq!(plan(Some(&desired), None), None);
        assert_eq!(plan(Some(&assignment()), Some(&observed())), None, "nothing is to be checked");
    }

    #[test]
    fn the_address_is_the_hosts_own_in_its_network() {
        let mut desired = Assignment { readiness: Some(http()), ..assignment() };
        desired.container.network_mode = NetworkMode::Host;
        assert_eq!(
            plan(Some(&desired), Some(&observed())).unwrap().address,
            Some("127.0.0.1".parse().unwrap())
        );
        desired.container.network_mode = NetworkMode::None;
        assert_eq!(plan(Some(&desired), Some(&observed())).unwrap().address, None);
    }

    #[test]
    fn what_is_checked_is_told_without_secrets() {
        let exec = Check::Exec { command: vec!["mysqladmin".into(), "-psecret".into()] };
        for (check, words) in [(http().check, "GET :80/healthz"), (exec, "mysqladmin")] {
            assert_eq!(Ask::One(check).to_string(), words);
        }
    }
}
