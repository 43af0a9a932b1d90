//! Counts by how long an answer took to begin.

use std::time::Duration;

/// Upper bounds of the buckets in milliseconds: those that proxies count by. What is above all of them
/// falls into one more bucket.
pub const BOUNDS: [f64; 16] =
    [0.5, 1.0, 2.0, 4.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 2_000.0, 5_000.0, 20_000.0];

/// Counts of each bucket.
pub type Histogram = [u32; BOUNDS.len() + 1];

/// The counts of buckets with these `bounds`. A proxy of another version may have others than [`BOUNDS`]:
/// each of its buckets then goes to the one that its upper bound is in.
pub fn read(bounds: &[f64], counts: &[u32]) -> Histogram {
    let mut histogram = Histogram::default();
    for (at, count) in counts.iter().enumerate() {
        let bucket = bounds.get(at).map_or(BOUNDS.len(), |upper| BOUNDS.partition_point(|own| own < upper));
        histogram[bucket] = histogram[bucket].saturating_add(*count);
    }
    histogram
}

/// Adds the counts of `other` to those of `histogram`.
pub fn add(histogram: &mut Histogram, other: &Histogram) {
    for (mine, other) in histogram.iter_mut().zip(other) {
        *mine = mine.saturating_add(*other);
    }
}

/// The time within which `share` (0 to 1) of the answers began; `None` where there were none. Inside a
/// bucket answers are taken to be spread evenly, as `histogram_quantile` of Prometheus takes them; of the
/// last bucket only its lower bound is known.
pub fn quantile(histogram: &Histogram, share: f64) -> Option<Duration> {
    let total: f64 = histogram.iter().map(|count| f64::from(*count)).sum();
    if total == 0.0 {
        return None;
    }
    let rank = share.clamp(0.0, 1.0) * total;
    let (mut below, mut lower) = (0.0, 0.0);
    for (count, upper) in histogram.iter().zip(BOUNDS) {
        let count = f64::from(*count);
        if count > 0.0 && below + count >= rank {
            let millis = lower + (upper - lower) * ((rank - below) / count);
            return Some(Duration::from_secs_f64(millis / 1_000.0));
        }
        (below, lower) = (below + count, upper);
    }
    Some(Duration::from_secs_f64(lower / 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(buckets: &[(usize, u32)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (at, count) in buckets {
            histogram[*at] = *count;
        }
        histogram
    }

    #[test]
    fn a_quantile_lies_inside_its_bucket_in_proportion() {
        // 100 answers between 10 and 15 ms.
        let even = of(&[(6, 100)]);
        assert_eq!(quantile(&even, 0.5), Some(Duration::from_micros(12_500)));
        assert_eq!(quantile(&even, 1.0), Some(Duration::from_millis(15)));
        // 90 within 0.5 ms, 10 between 50 and 100 ms.
        let two = of(&[(0, 90), (9, 10)]);
        assert_eq!(quantile(&two, 0.5), Some(Duration::from_nanos(277_778)));
        assert_eq!(quantile(&two, 0.95), Some(Duration::from_millis(75)));
    }

    #[test]
    fn of_nothing_there_is_no_quantile_and_above_all_bounds_the_last_one_is_said() {
        assert_eq!(quantile(&Histogram::default(), 0.95), None);
        assert_eq!(quantile(&of(&[(16, 3)]), 0.5), Some(Duration::from_secs(20)));
    }

    #[test]
    fn buckets_of_other_bounds_go_where_they_belong() {
        let same: Vec<u32> = (0..17).collect();
        assert_eq!(read(&BOUNDS, &same).as_slice(), same);
        let other = read(&[5.0, 60.0], &[1, 2, 4]);
        assert_eq!(other, of(&[(4, 1), (9, 2), (16, 4)]));
        assert_eq!(read(&[f64::NAN], &[1]).iter().sum::<u32>(), 1, "nonsense breaks nothing");
    }
}
