use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use gantry_model::Timestamp;

/// Attempts that one address may make at once, and the time in which it gets one back.
const BURST: u32 = 10;
const ONE_BACK: Duration = Duration::from_secs(1);
/// Addresses that are remembered.
const MOST: usize = 1024;

/// Bounds how often each address may try something. It reads no clock.
#[derive(Debug, Default)]
pub struct Rate {
    /// When the address will have all its attempts back.
    full_at: HashMap<IpAddr, Timestamp>,
}

impl Rate {
    /// Whether `address` may try at `now`. If so, that is counted.
    pub fn allow(&mut self, address: IpAddr, now: Timestamp) -> bool {
        if self.full_at.len() >= MOST && !self.full_at.contains_key(&address) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MOST {
                return false;
            }
        }
        let full_at = self.full_at.entry(address).or_insert(now);
        let next = (*full_at).max(now).after(ONE_BACK);
        if next.since(now) > ONE_BACK * BURST {
            return false;
        }
        *full_at = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_tries_too_often_has_to_wait_and_others_do_not() {
        let (mut rate, start) = (Rate::default(), Timestamp::from_millis(5_000));
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let allowed = (0..100).filter(|_| rate.allow(address(1), start)).count();
        assert_eq!(allowed, 10);
        assert!(rate.allow(address(2), start));
        assert!(rate.allow(address(1), start.after(ONE_BACK)));
        assert!(!rate.allow(address(1), start.after(ONE_BACK)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut rate, start) = (Rate::default(), Timestamp::from_millis(5_000));
        for n in 0..5_000_u32 {
            rate.allow(IpAddr::from(n.to_be_bytes()), start);
        }
        assert_eq!(rate.full_at.len(), MOST);
        assert!(rate.allow(IpAddr::from([192, 0, 2, 1]), start.after(ONE_BACK * 20)));
    }
}
