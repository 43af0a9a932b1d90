use std::time::Duration;

use rand::RngExt as _;

/// Growing pauses between attempts, each drawn from half to the whole of its step, so that many
/// clients that lost one server do not come back as one.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    step: Duration,
}

impl Backoff {
    /// Pauses that double from `first` up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, step: first }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let step = self.step;
        self.step = (step * 2).min(self.longest);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.step = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        let pauses: Vec<_> = (0..4).map(|_| backoff.pause().as_millis()).collect();
        assert!((50..=100).contains(&pauses[0]), "{pauses:?}");
        assert!((100..=200).contains(&pauses[1]), "{pauses:?}");
        assert!((150..=300).contains(&pauses[3]), "{pauses:?}");
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
