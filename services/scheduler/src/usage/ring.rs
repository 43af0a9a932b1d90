//! The last 15 minutes of one replica, second by second. Pure.

use std::collections::VecDeque;

/// So many seconds are kept.
pub const KEPT: u64 = 900;
/// Room is made for so many seconds at a time: a ring that doubled would take an eighth more in the end.
const STEP: usize = 60;
const NOTHING: u32 = u32::MAX;
/// Of memory that the kernel does not count, in a second that was measured.
const NOT_COUNTED: u32 = NOTHING - 1;

/// What a replica used in one second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Cores; `None` where that was not known.
    pub cpu_cores: Option<f64>,
    /// Bytes of memory; `None` where the kernel does not count them.
    pub memory_bytes: Option<u64>,
}

/// One second in 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    /// [`NOTHING`] where it is not known.
    cpu_microcores: u32,
    /// In KiB, so up to 4 TiB; [`NOT_COUNTED`] where the kernel does not count it, [`NOTHING`] in seconds of which nothing
    /// is known.
    memory: u32,
}

const EMPTY: Slot = Slot { cpu_microcores: NOTHING, memory: NOTHING };

/// The last seconds of one replica.
#[derive(Debug, Default)]
pub struct Ring {
    /// Oldest first, one for each second up to `newest`.
    slots: VecDeque<Slot>,
    newest: u64,
}

impl Ring {
    /// Takes what was used in the second `at`; of two in one second the later one counts. Seconds before the
    /// newest are left out.
    pub fn put(&mut self, at: u64, cpu_microcores: Option<u32>, memory_bytes: Option<u64>) {
        let slot = Slot {
            cpu_microcores: cpu_microcores.map_or(NOTHING, |cpu| cpu.min(NOTHING - 1)),
            memory: memory_bytes.map_or(NOT_COUNTED, |bytes| {
                u32::try_from(bytes >> 10).unwrap_or(NOTHING).min(NOT_COUNTED - 1)
            }),
        };
        if let Some(last) = self.slots.back_mut() {
            match at.checked_sub(self.newest) {
                None => return,
                Some(0) => {
                    *last = slot;
                    return;
                }
                Some(passed) if passed >= KEPT => self.slots.clear(),
                Some(passed) => (1..passed).for_each(|_| self.push(EMPTY)),
            }
        }
        self.push(slot);
        self.newest = at;
    }

    fn push(&mut self, slot: Slot) {
        if self.slots.len() as u64 >= KEPT {
            self.slots.pop_front();
        } else if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(STEP);
        }
        self.slots.push_back(slot);
    }

    /// The newest second, and what was used in it.
    pub fn latest(&self) -> Option<(u64, Point)> {
        Some((self.newest, point(*self.slots.back()?)?))
    }

    /// What was used in the second `from` and after it, oldest first.
    pub fn since(&self, from: u64) -> impl Iterator<Item = (u64, Point)> {
        let first = (self.newest + 1).saturating_sub(self.slots.len() as u64);
        let seconds = (first..).zip(&self.slots).filter(move |(at, _)| *at >= from);
        seconds.filter_map(|(at, slot)| Some((at, point(*slot)?)))
    }
}

fn point(slot: Slot) -> Option<Point> {
    let known = |number: u32| (number != NOTHING).then_some(number);
    let cpu_cores = known(slot.cpu_microcores).map(|cpu| f64::from(cpu) / 1e6);
    let kibibytes = known(slot.memory)?;
    let memory_bytes = (kibibytes != NOT_COUNTED).then(|| u64::from(kibibytes) << 10);
    Some(Point { cpu_cores, memory_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(ring: &Ring, from: u64) -> Vec<u64> {
        ring.since(from).map(|(at, _)| at).collect()
    }

    #[test]
    fn a_ring_has_fifteen_minutes_and_no_more() {
        let mut ring = Ring::default();
        for at in 1_000..3_000 {
            ring.put(at, Some(u32::try_from(at).unwrap()), Some(at << 10));
        }
        let all = seconds(&ring, 0);
        assert_eq!((all.len(), all[0], all[899]), (900, 2_100, 2_999));
        assert_eq!(seconds(&ring, 2_998), [2_998, 2_999]);
        assert!(ring.slots.capacity() * size_of::<Slot>() <= 7_200, "{}", ring.slots.capacity());
        let (at, point) = ring.latest().unwrap();
        assert_eq!((at, point.memory_bytes), (2_999, Some(2_999 << 10)));
        assert!((point.cpu_cores.unwrap() - 0.002_999).abs() < 1e-12);
    }

    #[test]
    fn seconds_of_which_nothing_is_known_are_left_out() {
        let mut ring = Ring::default();
        ring.put(10, Some(1), Some(1 << 10));
        ring.put(13, None, None);
        assert_eq!(seconds(&ring, 0), [10, 13]);
        let unknown = Point { cpu_cores: None, memory_bytes: None };
        assert_eq!(ring.latest().unwrap().1, unknown, "it was measured: it has just started");
        ring.put(13 + KEPT, Some(1), Some(0));
        assert_eq!(seconds(&ring, 0), [13 + KEPT], "all of that is too old");
    }

    #[test]
    fn of_two_in_one_second_the_later_one_counts_and_an_earlier_second_never() {
        let mut ring = Ring::default();
        ring.put(10, Some(1), Some(5 << 10));
        ring.put(10, Some(2), Some(6 << 10));
        ring.put(9, Some(3), Some(7 << 10));
        assert_eq!(ring.latest().unwrap().1.memory_bytes, Some(6 << 10));
        assert_eq!(seconds(&ring, 0), [10]);
    }

    #[test]
    fn what_is_too_large_is_the_largest() {
        let mut ring = Ring::default();
        ring.put(1, Some(u32::MAX), Some(u64::MAX));
        let (_, point) = ring.latest().unwrap();
        assert!(point.cpu_cores.unwrap() > 4_294.0 && point.memory_bytes > Some(2 << 40), "{point:?}");
        assert_eq!(Ring::default().latest(), None);
    }
}
