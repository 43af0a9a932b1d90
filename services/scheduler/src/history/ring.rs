//! The last 15 minutes of one service, second by second. Pure.

use std::collections::VecDeque;

use super::point::Point;

/// So many seconds are kept.
pub const KEPT: u64 = 900;
/// Room is made for so many seconds at a time: a ring that doubled would take an eighth more in the end.
const STEP: usize = 60;

/// The last seconds of one service.
#[derive(Debug, Default)]
pub struct Ring {
    /// Oldest first, one for each second up to `newest`; `None` where nobody looked.
    points: VecDeque<Option<Point>>,
    newest: u64,
}

impl Ring {
    /// Takes what was seen in the second `at`; of two in one second the later one counts. Seconds before the
    /// newest are left out.
    pub fn put(&mut self, at: u64, point: Point) {
        if let Some(last) = self.points.back_mut() {
            match at.checked_sub(self.newest) {
                None => return,
                Some(0) => {
                    *last = Some(point);
                    return;
                }
                Some(passed) if passed >= KEPT => self.points.clear(),
                Some(passed) => (1..passed).for_each(|_| self.push(None)),
            }
        }
        self.push(Some(point));
        self.newest = at;
    }

    fn push(&mut self, point: Option<Point>) {
        if self.points.len() as u64 >= KEPT {
            self.points.pop_front();
        } else if self.points.len() == self.points.capacity() {
            self.points.reserve_exact(STEP);
        }
        self.points.push_back(point);
    }

    /// The newest second, and what was seen in it.
    pub fn latest(&self) -> Option<(u64, &Point)> {
        Some((self.newest, self.points.back()?.as_ref()?))
    }

    /// What was seen in the second `from` and after it, oldest first.
    pub fn since(&self, from: u64) -> impl Iterator<Item = (u64, &Point)> {
        let first = (self.newest + 1).saturating_sub(self.points.len() as u64);
        let seconds = (first..).zip(&self.points).filter(move |(at, _)| *at >= from);
        seconds.filter_map(|(at, point)| Some((at, point.as_ref()?)))
    }

    /// The numbers of its own are others from now on.
    pub fn forget_metrics(&mut self) {
        self.points.iter_mut().flatten().for_each(|point| point.metrics = Box::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(wanted: u32) -> Point {
        Point { wanted, ..Point::default() }
    }

    fn seconds(ring: &Ring, from: u64) -> Vec<(u64, u32)> {
        ring.since(from).map(|(at, point)| (at, point.wanted)).collect()
    }

    #[test]
    fn a_ring_has_fifteen_minutes_and_no_more() {
        let mut ring = Ring::default();
        for at in 1_000..3_000 {
            ring.put(at, point(u32::try_from(at).unwrap()));
        }
        let all = seconds(&ring, 0);
        assert_eq!((all.len(), all[0], all[899]), (900, (2_100, 2_100), (2_999, 2_999)));
        assert_eq!(seconds(&ring, 2_998), [(2_998, 2_998), (2_999, 2_999)]);
        assert_eq!(ring.latest().map(|(at, _)| at), Some(2_999));
        let bytes = ring.points.capacity() * size_of::<Option<Point>>();
        assert!(bytes <= 72_000, "{bytes}");
    }

    #[test]
    fn seconds_in_which_nobody_looked_are_left_out_and_earlier_ones_never_come() {
        let mut ring = Ring::default();
        ring.put(10, point(1));
        ring.put(13, point(2));
        ring.put(13, point(3));
        ring.put(12, point(4));
        assert_eq!(seconds(&ring, 0), [(10, 1), (13, 3)]);
        ring.put(13 + KEPT, point(5));
        assert_eq!(seconds(&ring, 0), [(13 + KEPT, 5)], "all of that is too old");
        assert_eq!(Ring::default().latest(), None);
    }
}
