//! What should be reserved for a replica, and allowed to it, by what was used. Pure.
//!
//! The rules, and why:
//! - CPU: reserve what it used at most in 95% of the time, and 15% more; a burst may wait a little. The limit is
//!   half above the highest, and at least twice the reservation: a limit that is met makes requests slow without
//!   a word.
//! - Memory: reserve the highest, and 10% more, since what is used is not given back soon; the limit is 30% above
//!   the highest, for whoever meets it is killed.
//! - A replica that comes close to a limit might use more if it could, so what was seen says too little: the
//!   limit is raised by half, and the rest follows the next time.

use std::fmt::Write as _;
use std::time::Duration;

use gantry_model::Resources;

use super::ring::Point;

/// Fewer seconds say too little.
pub const FEWEST: usize = 60;
/// The processor time of so many seconds after a start is not counted: most processes are busy then.
const START: usize = 10;
/// From this share on a replica comes close to its limit.
const CLOSE: f64 = 0.9;
/// What is reserved may be so many times what should be before that is worth a word.
const GENEROUS: f64 = 1.5;

/// What was seen of a service's replicas, and what follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// How many replicas were measured.
    pub replicas: usize,
    /// From the first second to the last.
    pub span: Duration,
    /// How many seconds of a replica.
    pub samples: usize,
    /// In cores; `None`: too little was seen.
    pub cpu: Option<ResourceAdvice>,
    /// In bytes; `None`: too little was seen, or the kernels do not count memory.
    pub memory: Option<ResourceAdvice>,
}

/// About one resource of a replica, in cores or in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceAdvice {
    /// Half of the time it used at most that much.
    pub median: f64,
    /// 95% of the time it used at most that much.
    pub p95: f64,
    /// The most that it used.
    pub highest: f64,
    /// What is set aside for it.
    pub reservation: Option<f64>,
    /// What it may use.
    pub limit: Option<f64>,
    /// What should be set aside.
    pub advised_reservation: f64,
    /// What it should be allowed to use.
    pub advised_limit: f64,
    /// How what is set compares with what was used.
    pub verdict: Verdict,
    /// The same in words.
    pub reason: String,
}

/// How what is set compares with what was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// About right.
    Fits,
    /// It uses more than is reserved, or comes close to its limit.
    TooLow,
    /// Much more is reserved than it uses.
    TooHigh,
    /// Neither is set.
    NotSet,
}

/// A resource, and how it is rounded and said.
struct Kind {
    /// Advice is a multiple of that.
    step: f64,
    /// Less than this is not worth a word.
    trifle: f64,
    say: fn(f64) -> String,
}

const CPU: Kind = Kind { step: 0.01, trifle: 0.1, say: cores };
const MEMORY: Kind = Kind { step: MIB, trifle: 32.0 * MIB, say: mebibytes };
const MIB: f64 = 1_048_576.0;

/// Advice for replicas with these resources, of which each used that much, second by second.
pub fn advise(histories: &[Vec<(u64, Point)>], resources: &Resources) -> Advice {
    let seconds = histories.iter().flatten().map(|(at, _)| *at);
    let span = match (seconds.clone().min(), seconds.max()) {
        (Some(first), Some(last)) => Duration::from_secs(last - first + 1),
        _ => Duration::ZERO,
    };
    let points = histories.iter().flatten();
    let samples = points.clone().count();
    let memory: Vec<f64> = points.filter_map(|(_, point)| point.memory_bytes).map(bytes).collect();
    let cpu: Vec<f64> = histories.iter().flat_map(|history| settled(history)).collect();
    let set = |value: Option<i64>, unit: f64| {
        #[allow(clippy::cast_precision_loss)] // Rounded to a hundredth of a core, or a MiB, in the end.
        value.filter(|value| *value > 0).map(|value| value as f64 / unit)
    };
    Advice {
        replicas: histories.len(),
        span,
        samples,
        cpu: Seen::of(cpu).map(|seen| {
            let (reserved, limit) = (set(resources.reserved_nano_cpus, 1e9), set(resources.nano_cpus, 1e9));
            let reservation = seen.p95 * 1.15;
            seen.compare(
                &CPU,
                reserved,
                limit,
                reservation,
                (seen.highest * 1.5).max(reservation * 2.0),
                seen.p95,
            )
        }),
        memory: Seen::of(memory).map(|seen| {
            let (reserved, limit) = (set(resources.reserved_memory, 1.0), set(resources.memory, 1.0));
            seen.compare(&MEMORY, reserved, limit, seen.highest * 1.1, seen.highest * 1.3, seen.highest)
        }),
    }
}

/// Cores, but for those right after a start, which is where they are not known.
fn settled(history: &[(u64, Point)]) -> impl Iterator<Item = f64> {
    let mut left = 0;
    history.iter().filter_map(move |(_, point)| match point.cpu_cores {
        None => {
            left = START;
            None
        }
        Some(_) if left > 0 => {
            left -= 1;
            None
        }
        known => known,
    })
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    median: f64,
    p95: f64,
    highest: f64,
}

impl Seen {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        if values.len() < FEWEST {
            return None;
        }
        let last = values.len() - 1;
        let mut at = |percent: usize| *values.select_nth_unstable_by(last * percent / 100, f64::total_cmp).1;
        Some(Self { median: at(50), p95: at(95), highest: at(100) })
    }

    /// `close`: what is compared with a reservation and a limit.
    fn compare(
        self,
        kind: &Kind,
        reservation: Option<f64>,
        limit: Option<f64>,
        advised_reservation: f64,
        advised_limit: f64,
        close: f64,
    ) -> ResourceAdvice {
        let say = kind.say;
        let squeezed = limit.filter(|limit| close >= limit * CLOSE);
        // What is a multiple but for the last bits of a double stays as it is.
        let up = |value: f64| (value / kind.step - 1e-6).ceil().max(1.0) * kind.step;
        let advised_reservation = up(advised_reservation);
        let advised_limit = up(squeezed.map_or(advised_limit, |limit| limit * 1.5).max(advised_reservation));
        let mut reason = String::new();
        let verdict = if let Some(limit) = squeezed {
            let _ = write!(reason, "it comes close to its limit of {}, and may need more", say(limit));
            Verdict::TooLow
        } else if let Some(reserved) = reservation {
            let _ = write!(reason, "{} is reserved, and it uses {}", say(reserved), say(close));
            if close > reserved {
                Verdict::TooLow
            } else if reserved > advised_reservation * GENEROUS
                && reserved - advised_reservation >= kind.trifle
            {
                Verdict::TooHigh
            } else {
                Verdict::Fits
            }
        } else if let Some(limit) = limit {
            let _ =
                write!(reason, "nothing is reserved; it uses {} of its limit of {}", say(close), say(limit));
            Verdict::Fits
        } else {
            let _ = write!(reason, "neither a reservation nor a limit is set; it uses {}", say(close));
            Verdict::NotSet
        };
        let Self { median, p95, highest } = self;
        ResourceAdvice {
            median,
            p95,
            highest,
            reservation,
            limit,
            advised_reservation,
            advised_limit,
            verdict,
            reason,
        }
    }
}

#[allow(clippy::cast_precision_loss)] // Rounded to a MiB in the end.
fn bytes(bytes: u64) -> f64 {
    bytes as f64
}

fn cores(cores: f64) -> String {
    format!("{cores:.2} cores")
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A replica that used this much, second by second.
    fn history(cpu: impl IntoIterator<Item = f64>, mib: u64) -> Vec<(u64, Point)> {
        let points = cpu.into_iter().map(|cpu| Point { cpu_cores: Some(cpu), memory_bytes: Some(mib << 20) });
        (1_000..).zip(points).collect()
    }

    fn resources(reserved: Option<f64>, limit: Option<f64>) -> Resources {
        #[allow(clippy::cast_possible_truncation)]
        let nanos = |cores: f64| (cores * 1e9) as i64;
        Resources {
            reserved_nano_cpus: reserved.map(nanos),
            nano_cpus: limit.map(nanos),
            ..Resources::default()
        }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn bursts_do_not_count_for_the_reservation_and_do_for_the_limit() {
        let busy = (0..600).map(|at| if at % 50 == 0 { 1.0 } else { 0.2 });
        let advice = advise(&[history(busy, 100)], &resources(None, None));
        let cpu = advice.cpu.unwrap();
        assert!(close(cpu.p95, 0.2) && close(cpu.highest, 1.0), "{cpu:?}");
        assert!(close(cpu.advised_reservation, 0.23) && close(cpu.advised_limit, 1.5), "{cpu:?}");
        assert_eq!(cpu.verdict, Verdict::NotSet);
        assert_eq!((advice.replicas, advice.samples, advice.span), (1, 600, Duration::from_mins(10)));
        let memory = advice.memory.unwrap();
        assert!(close(memory.advised_reservation, 110.0 * MIB) && close(memory.advised_limit, 130.0 * MIB));
    }

    #[test]
    fn what_is_set_is_compared_with_what_was_used() {
        let verdict = |reserved, limit| {
            let cpu = advise(&[history([0.4; 100], 10)], &resources(reserved, limit)).cpu.unwrap();
            (cpu.verdict, cpu.reason)
        };
        assert_eq!(verdict(Some(0.5), None).0, Verdict::Fits);
        assert_eq!(
            verdict(Some(0.25), None),
            (Verdict::TooLow, "0.25 cores is reserved, and it uses 0.40 cores".to_owned())
        );
        assert_eq!(verdict(Some(2.0), None).0, Verdict::TooHigh);
        assert_eq!(verdict(None, Some(1.0)).0, Verdict::Fits);
        assert_eq!(
            verdict(Some(2.0), Some(0.42)),
            (Verdict::TooLow, "it comes close to its limit of 0.42 cores, and may need more".to_owned())
        );
        let idle = advise(&[history([0.01; 100], 1)], &resources(Some(0.05), None)).cpu.unwrap();
        assert_eq!(idle.verdict, Verdict::Fits, "a few hundredths are not worth a word");
    }

    #[test]
    fn whoever_is_at_a_limit_gets_more_than_was_seen() {
        let limited = Resources { memory: Some(100 << 20), ..Resources::default() };
        let memory = advise(&[history([0.1; 100], 97)], &limited).memory.unwrap();
        assert!(close(memory.advised_limit, 150.0 * MIB), "{memory:?}");
        assert_eq!(memory.verdict, Verdict::TooLow);
    }

    #[test]
    fn a_start_does_not_count_and_too_little_gives_no_advice() {
        let mut started = history([0.1; 100], 10);
        started[0].1.cpu_cores = None;
        for (_, point) in &mut started[1..=START] {
            point.cpu_cores = Some(4.0);
        }
        let cpu = advise(&[started], &resources(None, None)).cpu.unwrap();
        assert!(close(cpu.highest, 0.1), "{cpu:?}");
        let short = advise(&[history([0.1; FEWEST - 1], 10)], &resources(None, None));
        assert_eq!((short.cpu, short.memory, short.samples), (None, None, FEWEST - 1));
        assert_eq!(advise(&[], &resources(None, None)).span, Duration::ZERO);
    }

    #[test]
    fn memory_that_is_not_counted_gets_no_advice() {
        let mut uncounted = history([0.1; 100], 10);
        for (_, point) in &mut uncounted {
            point.memory_bytes = None;
        }
        let advice = advise(&[uncounted], &resources(None, None));
        assert_eq!((advice.memory, advice.samples), (None, 100));
        assert!(advice.cpu.is_some());
    }

    #[test]
    fn all_replicas_count() {
        let quiet = history([0.1; 50], 10);
        let busy = history([0.3; 50], 30);
        let advice = advise(&[quiet, busy], &resources(None, None));
        assert!(close(advice.cpu.unwrap().highest, 0.3));
        assert!(close(advice.memory.unwrap().highest, 30.0 * MIB));
        assert_eq!(advice.replicas, 2);
    }
}
