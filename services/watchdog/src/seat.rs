//! What everything that follows the feed goes by: the state, the scheduler's time, and whether this
//! watchdog may act.

use std::sync::Arc;
use std::time::Instant;

use gantry_feed::Mirror;
use gantry_model::Timestamp;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::lead::Lead;

/// A place from which the cluster is watched. Clones see the same.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The random id of this run.
    pub instance: String,
    /// The way to the scheduler.
    pub channel: Channel,
    /// The state as the feed has it.
    pub mirrors: watch::Receiver<Arc<Mirror>>,
    /// Who has the right to act.
    pub lead: watch::Receiver<Lead>,
}

impl Seat {
    /// Whether this watchdog may act now.
    pub fn leads(&self) -> bool {
        self.lead.borrow().holds(Instant::now())
    }

    /// The state, and what time it is for the scheduler; `None` while the feed is not open, when nothing
    /// is known to be true.
    pub fn look(&mut self) -> Option<(Arc<Mirror>, Timestamp)> {
        let mirror = self.mirrors.borrow_and_update().clone();
        let now = scheduler_time(&mirror, Instant::now())?;
        Some((mirror, now))
    }
}

/// The scheduler's time at `at`: what it said last, and how long ago that was by this machine's clock that
/// only goes forward. So it does not matter what the clocks of the two machines say.
fn scheduler_time(mirror: &Mirror, at: Instant) -> Option<Timestamp> {
    let (now, heard) = (mirror.now?, mirror.heard?);
    mirror.connected.then(|| now.after(at.saturating_duration_since(heard)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_schedulers_time_goes_on_between_its_messages_and_is_not_known_without_a_feed() {
        let heard = Instant::now();
        let now = Some(Timestamp::from_millis(5_000));
        let mirror = Mirror { now, heard: Some(heard), connected: true, ..Mirror::default() };
        let later = heard + Duration::from_millis(1_500);
        assert_eq!(scheduler_time(&mirror, later), Some(Timestamp::from_millis(6_500)));
        assert_eq!(scheduler_time(&Mirror { connected: false, ..mirror.clone() }, later), None);
        assert_eq!(scheduler_time(&Mirror { now: None, ..mirror }, later), None, "it does not say its time");
    }
}
