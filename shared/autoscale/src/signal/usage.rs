//! Processor time and memory, in per cent of what a replica may use.
//!
//! A replica of which nothing is known counts as using nothing when replicas are added, and as using its
//! whole target when some are taken away, as Kubernetes' autoscaler has it.

use std::time::Duration;

use gantry_model::Timestamp;

use super::{Need, Signal};
use crate::bounds::Rules;
use crate::number::large;
use crate::signals::{Replica, Signals, Stage, Usage};

/// An older sample says nothing about now.
const STALE: Duration = Duration::from_secs(5);
/// A process that has just started is busy with itself.
const STARTING: Duration = Duration::from_secs(10);

/// What processor time asks for; `None` where it is not known of any replica.
pub fn cpu(rules: &Rules<'_>, signals: &Signals, now: Timestamp) -> Option<Need> {
    let target = rules.base.cpu_millicores * share(rules.autoscale.cpu?);
    need(
        Signal::Cpu,
        signals,
        target,
        |replica| is_warm(replica, now),
        |usage| Some(f64::from(usage.cpu_millicores)),
    )
}

/// The share of its processor time that a replica uses, on average over those of which that is known.
pub fn cpu_of_each(rules: &Rules<'_>, signals: &Signals, now: Timestamp) -> Option<f64> {
    let (mut counted, mut sum) = (0_u32, 0.0);
    for usage in signals.replicas.iter().filter(|replica| is_warm(replica, now)).filter_map(fresh) {
        counted += 1;
        sum += f64::from(usage.cpu_millicores);
    }
    (counted > 0).then(|| sum / rules.base.cpu_millicores / f64::from(counted))
}

fn is_warm(replica: &Replica, now: Timestamp) -> bool {
    replica.started_at.is_none_or(|start| now.since(start) >= STARTING)
}

/// What a replica that takes traffic uses now, where that is known.
fn fresh(replica: &Replica) -> Option<&Usage> {
    let ready = Some(replica).filter(|replica| replica.stage == Stage::Ready);
    ready.and_then(|replica| replica.usage.as_ref()).filter(|usage| usage.age <= STALE)
}

/// What memory asks for; `None` where it is not counted of any replica.
pub fn memory(rules: &Rules<'_>, signals: &Signals) -> Option<Need> {
    let target = rules.base.memory_bytes? * share(rules.autoscale.memory?);
    need(Signal::Memory, signals, target, |_| true, |usage| usage.memory_bytes.map(large))
}

fn share(percent: u32) -> f64 {
    f64::from(percent) / 100.0
}

fn need(
    signal: Signal,
    signals: &Signals,
    target: f64,
    is_counted: impl Fn(&Replica) -> bool,
    value: impl Fn(&Usage) -> Option<f64>,
) -> Option<Need> {
    let (mut counted, mut sum) = (0_u32, 0.0);
    let usages = signals.replicas.iter().filter(|replica| is_counted(replica)).filter_map(fresh);
    for value in usages.filter_map(value) {
        counted += 1;
        sum += value;
    }
    let low = sum / target;
    let high = low + f64::from(signals.count.saturating_sub(counted));
    (counted > 0).then_some(Need { signal, low, high })
}

#[cfg(test)]
mod tests {
    use gantry_model::{Autoscale, Container, Resources, ServiceSpec};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn spec() -> ServiceSpec {
        let resources = Resources { nano_cpus: Some(500_000_000), memory: Some(100), ..Resources::default() };
        ServiceSpec {
            container: Container { resources, ..Container::default() },
            autoscale: Some(Autoscale { max: 10, cpu: Some(70), memory: Some(80), ..Autoscale::default() }),
            ..ServiceSpec::default()
        }
    }

    /// A ready replica that started a minute ago.
    fn replica(cpu_millicores: u32) -> Replica {
        Replica {
            stage: Stage::Ready,
            started_at: Some(Timestamp::from_millis(940_000)),
            usage: Some(Usage { cpu_millicores, memory_bytes: Some(40), age: Duration::from_secs(1) }),
        }
    }

    fn needs(replicas: &[Replica]) -> (Option<Need>, Option<Need>) {
        let spec = spec();
        let rules = Rules::new(&spec, NOW).unwrap();
        let count = u32::try_from(replicas.len()).unwrap();
        let signals = Signals { count, replicas: replicas.to_vec(), ..Signals::default() };
        (cpu(&rules, &signals, NOW), memory(&rules, &signals))
    }

    fn is(need: Option<Need>, low: f64, high: f64) -> bool {
        need.is_some_and(|need| (need.low - low).abs() < 1e-9 && (need.high - high).abs() < 1e-9)
    }

    #[test]
    fn a_need_is_the_sum_by_the_target_of_one_replica() {
        // 70% of 500 millicores are 350; 80% of 100 bytes are 80.
        let (cpu, memory) = needs(&[replica(450), replica(250)]);
        assert!(is(cpu, 2.0, 2.0), "{cpu:?}");
        assert!(is(memory, 1.0, 1.0), "{memory:?}");
    }

    #[test]
    fn what_is_not_known_is_neither_a_reason_to_add_nor_to_take_away() {
        let busy = replica(350);
        let just_started = Replica { started_at: Some(Timestamp::from_millis(995_000)), ..replica(500) };
        let stale = Usage { cpu_millicores: 500, memory_bytes: Some(99), age: Duration::from_secs(6) };
        for unknown in [
            just_started,
            Replica { usage: None, ..busy },
            Replica { usage: Some(stale), ..busy },
            Replica { stage: Stage::Starting, ..busy },
            Replica { stage: Stage::Unready, ..busy },
            Replica { stage: Stage::Pending, ..busy },
        ] {
            let (cpu, _) = needs(&[busy, unknown]);
            assert!(is(cpu, 1.0, 2.0), "{unknown:?}: {cpu:?}");
        }
        assert!(needs(&[busy, just_started]).1.is_some_and(|need| need.high < 1.01), "its memory counts");
    }

    #[test]
    fn memory_that_is_not_counted_is_not_known() {
        let uncounted = |replica: Replica| Replica {
            usage: replica.usage.map(|usage| Usage { memory_bytes: None, ..usage }),
            ..replica
        };
        let (cpu, memory) = needs(&[uncounted(replica(350)), uncounted(replica(350))]);
        assert!(is(cpu, 2.0, 2.0) && memory.is_none(), "{cpu:?} {memory:?}");
        let (_, memory) = needs(&[replica(350), uncounted(replica(350))]);
        assert!(is(memory, 0.5, 1.5), "{memory:?}");
    }

    #[test]
    fn of_no_replica_nothing_is_known() {
        assert_eq!(needs(&[Replica { usage: None, ..replica(1) }]), (None, None));
        assert_eq!(needs(&[]), (None, None));
    }
}
