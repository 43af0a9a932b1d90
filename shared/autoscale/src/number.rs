//! Counts of replicas and the fractions that signals ask for.

/// What rounding of floats may add to a fraction is no reason for a further replica.
const ROUNDING: f64 = 1e-6;

/// The replicas that a fraction of them takes.
pub fn replicas(fraction: f64) -> u32 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Clamped to the range just before.
    let whole = (fraction - ROUNDING).ceil().clamp(0.0, f64::from(u32::MAX)) as u32;
    whole
}

/// A large count as a fraction; the last digits do not matter to anybody.
#[allow(clippy::cast_precision_loss)]
pub fn large(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_a_replica_takes_a_whole_one() {
        assert_eq!([replicas(0.0), replicas(0.1), replicas(2.0), replicas(2.01)], [0, 1, 2, 3]);
        assert_eq!(replicas(0.1 + 0.2 + 0.7), 1, "rounding adds none");
        assert_eq!([replicas(-1.0), replicas(f64::NAN), replicas(f64::INFINITY)], [0, 0, u32::MAX]);
    }
}
