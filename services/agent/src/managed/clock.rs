//! The clock that leases are counted on. It goes on while the host is suspended, which that of timers does not.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Answers how long ago the host was started; clones share it.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The host's own (`CLOCK_BOOTTIME`).
    pub fn of_host() -> Self {
        Self(Arc::new(|| {
            let time = clock_gettime(ClockId::Boottime);
            let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
            Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
        }))
    }

    /// The time since the host was started, with that in which it was suspended.
    pub fn now(&self) -> Duration {
        (self.0)()
    }

    /// One that a test moves.
    #[cfg(test)]
    pub fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}
