//! How often one client address may ask: a token bucket each, kept as the one time at which it is full
//! again (the generic cell rate algorithm, ITU-T I.371).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered at once. One more, and those that may ask again are forgotten.
const MAX_CLIENTS: usize = 100_000;

/// A rate for each client address.
pub struct Rate {
    /// Between two requests.
    interval: Duration,
    /// How far ahead of the rate a client may be.
    ahead: Duration,
    clients: Mutex<HashMap<IpAddr, Instant>>,
}

impl Rate {
    /// `rate` requests a second, and `burst` at once; 0: as many as in one second.
    pub fn new(rate: f64, burst: u32) -> Self {
        let interval = Duration::from_secs_f64((1.0 / rate).clamp(1e-9, 1e6));
        let burst = if burst == 0 { rate.max(1.0) } else { f64::from(burst) };
        Self { interval, ahead: interval.mul_f64(burst.min(1e9)), clients: Mutex::default() }
    }

    /// Whether this client may ask now.
    pub fn take(&self, client: IpAddr, now: Instant) -> bool {
        // A whole network of IPv6 belongs to one client.
        let client = match client {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS {
            clients.retain(|_, full| *full > now);
            if clients.len() >= MAX_CLIENTS {
                return clients.contains_key(&client);
            }
        }
        let full = clients.entry(client).or_insert(now);
        let next = (*full).max(now) + self.interval;
        let may = next <= now + self.ahead;
        if may {
            *full = next;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_burst_and_then_its_rate() {
        let rate = Rate::new(10.0, 5);
        let start = Instant::now();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert_eq!((0..20).filter(|_| rate.take(one, start)).count(), 5);
        assert!(rate.take(other, start), "others are not affected");
        let later = start + Duration::from_millis(300);
        assert_eq!((0..20).filter(|_| rate.take(one, later)).count(), 3);
    }
}
