//! The choice of an endpoint.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backend::{Backend, Group};
use super::endpoint::{Endpoint, InFlight};
use super::state::{State, millis};
use crate::spec::Balance;

/// What decides about the choice, besides the endpoints.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// The hash of what of the request is hashed.
    pub hash: u64,
    /// The endpoint that this client had before.
    pub sticky: Option<&'a str>,
    /// Endpoints that have failed this request already.
    pub tried: &'a [Arc<State>],
    /// The time.
    pub now: Instant,
}

impl Backend {
    /// The endpoint for a request, with a place on it. `None`: there is none, or all are at their limit
    /// or were tried.
    pub fn choose(self: &Rc<Self>, key: &Key<'_>, random: &mut impl FnMut() -> u64) -> Option<InFlight> {
        let now = millis(key.now);
        if let Some(name) = key.sticky {
            let own = self.endpoints().find(|endpoint| endpoint.state.name == name);
            if let Some(own) = own.filter(|own| Self::is_free(own, key, now))
                && let Some(taken) = InFlight::new(self, own)
            {
                return Some(taken);
            }
        }
        let group = self.next_group()?;
        let healthy = self.state.ejected_until.load(std::sync::atomic::Ordering::Relaxed) <= now;
        if key.tried.is_empty() && healthy && self.policy.max_concurrency == 0 {
            let endpoint = group.pick(self.policy.balance, key, self.policy.slow_start, random)?;
            return InFlight::new(self, endpoint);
        }
        // Somebody may not be to be had. The group is asked as always first, so that shares stay exact.
        for _ in 0..group.endpoints.len() {
            let endpoint = group.pick(self.policy.balance, key, self.policy.slow_start, random)?;
            if Self::is_free(endpoint, key, now)
                && let Some(taken) = InFlight::new(self, endpoint)
            {
                return Some(taken);
            }
        }
        // Then choose among the rest, also of other groups. Better one that was
        // left out than none.
        for strict in [true, false] {
            let fits = |endpoint: &&Rc<Endpoint>| {
                let state = &endpoint.state;
                let tried = key.tried.iter().any(|tried| Arc::ptr_eq(tried, state));
                let left_out = strict && state.is_ejected(now);
                !tried && !left_out
            };
            let mut rest: Vec<_> = group.endpoints.iter().filter(fits).cloned().collect();
            if rest.is_empty() {
                rest = self.endpoints().filter(fits).cloned().collect();
            }
            while !rest.is_empty() {
                let narrowed = Group::new(1, rest.clone());
                let Some(endpoint) = narrowed.pick(self.policy.balance, key, self.policy.slow_start, random)
                else {
                    break;
                };
                if let Some(taken) = InFlight::new(self, endpoint) {
                    return Some(taken);
                }
                rest.retain(|other| !Rc::ptr_eq(other, endpoint));
            }
        }
        None
    }

    fn is_free(endpoint: &Endpoint, key: &Key<'_>, now: u64) -> bool {
        !endpoint.state.is_ejected(now) && !key.tried.iter().any(|tried| Arc::ptr_eq(tried, &endpoint.state))
    }

    /// The next group by exact shares: smooth weighted round robin, as nginx has it.
    fn next_group(&self) -> Option<&Group> {
        if let [only] = self.groups.as_slice() {
            return Some(only);
        }
        let total: i64 = self.groups.iter().map(|group| i64::from(group.weight)).sum();
        for group in &self.groups {
            group.turn.set(group.turn.get() + i64::from(group.weight));
        }
        let best = self.groups.iter().max_by_key(|group| group.turn.get())?;
        best.turn.set(best.turn.get() - total);
        Some(best)
    }
}

impl Group {
    fn pick(
        &self,
        balance: Balance,
        key: &Key<'_>,
        slow_start: Duration,
        random: &mut impl FnMut() -> u64,
    ) -> Option<&Rc<Endpoint>> {
        if let [only] = self.endpoints.as_slice() {
            return Some(only);
        }
        let mut chosen = None;
        // One that has just come is taken with growing probability only.
        for _ in 0..4 {
            let endpoint = self.pick_once(balance, key, random)?;
            chosen = Some(endpoint);
            if balance == Balance::Hash || slow_start.is_zero() {
                break;
            }
            let age = key.now.saturating_duration_since(endpoint.state.since);
            if age >= slow_start || unit(random()) < (age.as_secs_f64() / slow_start.as_secs_f64()).max(0.1) {
                break;
            }
        }
        chosen
    }

    fn pick_once(
        &self,
        balance: Balance,
        key: &Key<'_>,
        random: &mut impl FnMut() -> u64,
    ) -> Option<&Rc<Endpoint>> {
        let all = &self.endpoints;
        match balance {
            Balance::Random => all.get(self.draw(random())),
            Balance::LeastRequest => {
                let first = self.draw(random());
                let mut second = self.draw(random());
                if second == first {
                    second = (first + 1) % all.len();
                }
                let load = |at: usize| {
                    let endpoint = &all[at];
                    u64::from(endpoint.in_flight()) * 1_000 / u64::from(endpoint.weight.get())
                };
                all.get(if load(second) < load(first) { second } else { first })
            }
            Balance::RoundRobin if self.even => {
                let at = self.cursor.get();
                self.cursor.set((at + 1) % all.len());
                all.get(at % all.len())
            }
            Balance::RoundRobin => {
                let mut turns = self.turns.borrow_mut();
                for (turn, endpoint) in turns.iter_mut().zip(all) {
                    *turn += i64::from(endpoint.weight.get());
                }
                let best = (0..all.len()).max_by_key(|at| (turns[*at], std::cmp::Reverse(*at)))?;
                turns[best] -= i64::try_from(self.total).unwrap_or(i64::MAX);
                all.get(best)
            }
            Balance::Hash => all.iter().max_by(|a, b| {
                let score = |endpoint: &Endpoint| rank(key.hash, endpoint);
                score(a).total_cmp(&score(b))
            }),
        }
    }

    fn draw(&self, random: u64) -> usize {
        if self.even {
            return usize::try_from(random % self.endpoints.len() as u64).unwrap_or(0);
        }
        let mut left = random % self.total.max(1);
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            match left.checked_sub(u64::from(endpoint.weight.get())) {
                None => return at,
                Some(rest) => left = rest,
            }
        }
        0
    }
}

/// Weighted rendezvous hashing (Schindelhauer and Schomaker 2005): when an endpoint leaves, only what it
/// had moves.
fn rank(hash: u64, endpoint: &Endpoint) -> f64 {
    let own = mix(hash ^ hash_of(endpoint.state.address.to_string().as_bytes()));
    -f64::from(endpoint.weight.get()) / unit(own).max(f64::MIN_POSITIVE).ln()
}

/// A number between 0 and 1.
#[allow(clippy::cast_precision_loss)] // 53 bits are exact.
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood 2014).
pub fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// FNV-1a: the same on every node, so that all proxies send a client to the same endpoint.
pub fn hash_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
