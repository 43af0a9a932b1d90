//! What a service's spec says about its count at one moment.

use gantry_model::{Autoscale, Resources, ServiceSpec, Timestamp};

/// What the decision goes by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Targets and times.
    pub autoscale: &'a Autoscale,
    /// What the shares of a replica are of.
    pub base: Base,
    /// The fewest and the most, now.
    pub bounds: Bounds,
}

impl<'a> Rules<'a> {
    /// Those of a service at `now`; `None` where it is not scaled by load.
    pub fn new(spec: &'a ServiceSpec, now: Timestamp) -> Option<Self> {
        let autoscale = spec.autoscale.as_ref()?;
        let base = Base::of(&spec.container.resources);
        Some(Self { autoscale, base, bounds: Bounds::of(autoscale, now) })
    }
}

/// What 100% of a replica's processor time and memory are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Base {
    /// In thousandths of a core.
    pub cpu_millicores: f64,
    /// More processor time than that is not to be had.
    pub cpu_is_limited: bool,
    /// In bytes; `None` where there is neither a limit nor a reservation.
    pub memory_bytes: Option<f64>,
}

impl Base {
    /// The limit, else the reservation, else one core.
    pub fn of(resources: &Resources) -> Self {
        let set = |limit: Option<i64>, reserved: Option<i64>| {
            #[allow(clippy::cast_precision_loss)] // The last bytes do not matter.
            limit.filter(|value| *value > 0).or(reserved.filter(|value| *value > 0)).map(|value| value as f64)
        };
        let nano_cpus = set(resources.nano_cpus, resources.reserved_nano_cpus);
        Self {
            cpu_millicores: nano_cpus.map_or(1_000.0, |nano_cpus| nano_cpus / 1e6),
            cpu_is_limited: resources.nano_cpus.is_some_and(|limit| limit > 0),
            memory_bytes: set(resources.memory, resources.reserved_memory),
        }
    }
}

/// The fewest and the most replicas at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The fewest.
    pub min: u32,
    /// The most; never below `min`.
    pub max: u32,
    /// The entry of the schedule that says so, if one does.
    pub entry: Option<usize>,
}

impl Bounds {
    /// Those of the entry that began last; of two that began at once, the later in the list. Before any
    /// has begun, and where there is none, the service's own.
    pub fn of(autoscale: &Autoscale, now: Timestamp) -> Self {
        let entries = autoscale.schedule.iter().enumerate();
        let last = entries.filter_map(|(at, entry)| entry.begins.last(now).map(|began| (began, at))).max();
        let entry = last.and_then(|(_, at)| autoscale.schedule.get(at));
        let min = entry.and_then(|entry| entry.min).unwrap_or(autoscale.min);
        let max = entry.and_then(|entry| entry.max).unwrap_or(autoscale.max);
        Self { min, max: max.max(min), entry: last.map(|(_, at)| at) }
    }

    /// The fewest while there is anything to do: a service that sleeps is another matter.
    pub(crate) fn awake(&self) -> u32 {
        self.min.max(1)
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::{Recurrence, ScheduleEntry};

    use super::*;

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_millis(time.as_millisecond())
    }

    fn bounds(autoscale: &Autoscale, now: &str) -> (u32, u32, Option<usize>) {
        let Bounds { min, max, entry } = Bounds::of(autoscale, at(now));
        (min, max, entry)
    }

    #[test]
    fn the_entry_that_began_last_holds() {
        let entry = |cron, min, max| ScheduleEntry {
            begins: Recurrence::parse(cron, "Europe/Berlin").unwrap(),
            min,
            max,
        };
        let shop = Autoscale {
            min: 1,
            max: 10,
            schedule: vec![
                entry("0 8 * * 1-5", Some(4), None),
                entry("0 20 * * 1-5", None, Some(3)),
                entry("0 20 * * 5", Some(2), Some(2)),
            ],
            ..Autoscale::default()
        };
        // Summer: Berlin is two hours ahead. 2026-06-10 is a Wednesday.
        assert_eq!(bounds(&shop, "2026-06-10T05:59:59Z"), (1, 3, Some(1)), "Tuesday's evening still holds");
        assert_eq!(bounds(&shop, "2026-06-10T06:00:00Z"), (4, 10, Some(0)));
        assert_eq!(bounds(&shop, "2026-06-10T18:00:00Z"), (1, 3, Some(1)));
        assert_eq!(bounds(&shop, "2026-06-14T12:00:00Z"), (2, 2, Some(2)), "of two at once the later one");
    }

    #[test]
    fn without_a_schedule_the_services_own_bounds_hold() {
        let plain = Autoscale { min: 2, max: 5, ..Autoscale::default() };
        assert_eq!(bounds(&plain, "2026-06-10T06:00:00Z"), (2, 5, None));
    }

    #[test]
    fn a_share_is_of_the_limit_else_of_the_reservation_else_of_one_core() {
        let base = |nano_cpus, reserved_nano_cpus| {
            let resources = Resources { nano_cpus, reserved_nano_cpus, ..Resources::default() };
            Base::of(&resources).cpu_millicores
        };
        assert!((base(Some(500_000_000), Some(1)) - 500.0).abs() < 1e-9);
        assert!((base(None, Some(250_000_000)) - 250.0).abs() < 1e-9);
        assert!((base(None, None) - 1_000.0).abs() < 1e-9);
        assert_eq!(Base::of(&Resources::default()).memory_bytes, None);
    }
}
