//! What all checks of a replica come to, and what of it the scheduler is told. Pure.

use gantry_model::{Health, ReplicaStatus};

use super::gauge::Reading;
use super::plan::{Plan, Planned};

/// What all checks of a replica come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// It may take traffic; `None` where nothing was asked about that.
    pub ready: Option<bool>,
    /// It is starting, healthy or unhealthy; `None` where nothing was asked about that.
    pub health: Health,
    /// What a failed check said.
    pub message: String,
}

impl Outcome {
    /// Before the first result.
    pub fn starting(plan: &Plan) -> Self {
        let reading = Reading { ready: false, health: Health::Starting, message: String::new() };
        Self::of(plan.checks.iter().map(|check| (check, &reading)))
    }

    /// From what each check has come to.
    pub fn of<'a>(readings: impl Iterator<Item = (&'a Planned, &'a Reading)>) -> Self {
        let mut outcome = Self { ready: None, health: Health::None, message: String::new() };
        for (check, reading) in readings {
            if check.readiness {
                outcome.ready = Some(outcome.ready.unwrap_or(true) && reading.ready);
            }
            if check.liveness {
                outcome.health = worse(outcome.health, reading.health);
            }
            if outcome.message.is_empty() {
                outcome.message.clone_from(&reading.message);
            }
        }
        outcome
    }

    /// Writes it into a status in which the engine's own health check stands already.
    pub fn write(&self, status: &mut ReplicaStatus) {
        status.probe_ready = self.ready;
        status.health = worse(status.health, self.health);
        status.probe_message.clone_from(&self.message);
    }
}

/// Unhealthy if either is, else starting if either is, else healthy if either is.
fn worse(one: Health, other: Health) -> Health {
    let rank = |health| match health {
        Health::None => 0,
        Health::Healthy => 1,
        Health::Starting => 2,
        Health::Unhealthy => 3,
    };
    if rank(one) >= rank(other) { one } else { other }
}

#[cfg(test)]
mod tests {
    use gantry_model::Phase;

    use super::*;

    #[test]
    fn the_engines_check_and_the_agents_both_have_a_say() {
        use Health::{Healthy, None, Starting, Unhealthy};
        for (engine, agent, both) in [
            (None, None, None),
            (None, Healthy, Healthy),
            (Healthy, None, Healthy),
            (Healthy, Starting, Starting),
            (Starting, Healthy, Starting),
            (Unhealthy, Starting, Unhealthy),
            (Starting, Unhealthy, Unhealthy),
            (Unhealthy, Healthy, Unhealthy),
            (None, Unhealthy, Unhealthy),
        ] {
            let mut status = ReplicaStatus { health: engine, ..ReplicaStatus::default() };
            Outcome { ready: Option::None, health: agent, message: String::new() }.write(&mut status);
            assert_eq!(status.health, both, "{engine:?} and {agent:?}");
        }
    }

    #[test]
    fn a_replica_takes_traffic_only_when_its_readiness_says_so() {
        for (ready, takes) in [(Some(true), true), (Some(false), false), (None, true)] {
            let mut status = ReplicaStatus { phase: Phase::Running, ..ReplicaStatus::default() };
            Outcome { ready, health: Health::None, message: "why".into() }.write(&mut status);
            assert_eq!((status.is_ready(), status.probe_message.as_str()), (takes, "why"));
        }
    }
}
