use std::collections::HashMap;
use std::rc::Rc;

use super::*;
use crate::balance::Registry;
use crate::spec::{Policy, Target};

fn backend(policy: Policy, groups: &[(u32, &[u32])]) -> Rc<Backend> {
    let registry = Registry::new(1);
    let mut port = 1;
    let groups = groups.iter().map(|(weight, endpoints)| {
        let endpoints = endpoints.iter().map(|weight| {
            port += 1;
            let address = ([127, 0, 0, 1], port).into();
            let state = registry.endpoint("b", &format!("e{port}"), address, Duration::from_hours(1));
            let endpoint = Rc::new(Endpoint::new(state, 0));
            endpoint.weight.set(*weight);
            endpoint
        });
        Group::new(*weight, endpoints.collect())
    });
    let target = Target { backend: "b".into(), port: None };
    let groups: Vec<_> = groups.collect();
    Rc::new(Backend::new(target, policy, None, groups, registry.backend("b", None), Instant::now()))
}

fn random() -> impl FnMut() -> u64 {
    let mut seed = 7_u64;
    move || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(seed)
    }
}

fn key(hash: u64) -> Key<'static> {
    Key { hash, sticky: None, tried: &[], now: Instant::now() }
}

fn counts(backend: &Rc<Backend>, requests: u64) -> HashMap<String, u64> {
    let mut random = random();
    let mut counts = HashMap::new();
    for hash in 0..requests {
        let place = backend.choose(&key(mix(hash)), &mut random).unwrap();
        *counts.entry(place.endpoint.state.name.clone()).or_default() += 1;
    }
    counts
}

#[test]
fn ten_per_cent_are_ten_per_cent() {
    let backend = backend(Policy::default(), &[(90, &[1, 1, 1]), (10, &[1])]);
    assert_eq!(counts(&backend, 1_000)["e5"], 100);
}

#[test]
fn every_way_of_balancing_gives_everybody_a_share() {
    for balance in [Balance::LeastRequest, Balance::Random, Balance::RoundRobin, Balance::Hash] {
        let backend = backend(Policy { balance, ..Policy::default() }, &[(1, &[1, 1, 2])]);
        let counts = counts(&backend, 4_000);
        for (name, share) in [("e2", 1_000), ("e3", 1_000), ("e4", 2_000)] {
            let fair = share * 8 / 10..=share * 12 / 10;
            assert!(fair.contains(&counts[name]), "{balance:?} {name}: {counts:?}");
        }
    }
}

#[test]
fn the_one_with_less_to_do_gets_more() {
    let backend = backend(Policy::default(), &[(1, &[1, 1])]);
    let mut random = random();
    let held: Vec<_> = (0..100).map(|_| backend.choose(&key(0), &mut random).unwrap()).collect();
    let first = held.iter().filter(|place| place.endpoint.state.name == "e2").count();
    assert_eq!(first, 50, "held requests are spread evenly");
}

#[test]
fn a_hash_stays_where_it_is_when_others_leave() {
    let policy = Policy { balance: Balance::Hash, ..Policy::default() };
    let (all, fewer) = (backend(policy.clone(), &[(1, &[1, 1, 1, 1])]), backend(policy, &[(1, &[1, 1, 1])]));
    let mut random = random();
    for hash in (0..1_000).map(mix) {
        let before = all.choose(&key(hash), &mut random).unwrap().endpoint.state.name.clone();
        let after = fewer.choose(&key(hash), &mut random).unwrap().endpoint.state.name.clone();
        assert!(before == after || before == "e5", "{before} → {after}");
    }
}

#[test]
fn who_keeps_failing_is_left_out_but_never_the_last() {
    let backend = backend(Policy::default(), &[(1, &[1, 1])]);
    let now = Instant::now();
    let endpoints: Vec<_> = backend.endpoints().cloned().collect();
    for _ in 0..5 {
        backend.failed(&endpoints[0], now);
    }
    assert!(endpoints[0].state.is_ejected(millis(now)));
    assert_eq!(counts(&backend, 100).len(), 1);
    for _ in 0..50 {
        backend.failed(&endpoints[1], now);
    }
    assert!(!endpoints[1].state.is_ejected(millis(now)), "somebody has to answer");
    assert!(!endpoints[0].state.is_ejected(millis(now + Duration::from_secs(11))), "it gets another chance");
}

#[test]
fn a_limit_holds_and_a_tried_one_is_not_tried_again() {
    let backend = backend(Policy { max_concurrency: 2, ..Policy::default() }, &[(1, &[1, 1])]);
    let mut random = random();
    let held: Vec<_> = (0..4).map(|_| backend.choose(&key(0), &mut random).unwrap()).collect();
    assert!(backend.choose(&key(0), &mut random).is_none());
    drop(held);
    let first = backend.choose(&key(0), &mut random).unwrap().endpoint.state.clone();
    let tried = [first.clone()];
    let again = Key { tried: &tried, ..key(0) };
    for _ in 0..20 {
        assert!(!Arc::ptr_eq(&backend.choose(&again, &mut random).unwrap().endpoint.state, &first));
    }
}

#[test]
fn retries_are_a_share_of_the_requests_and_a_few_each_second() {
    let backend = backend(Policy::default(), &[(1, &[1])]);
    let now = Instant::now();
    assert_eq!((0..100).filter(|_| backend.may_retry(now)).count(), 10);
    (0..100).for_each(|_| backend.earn_retry());
    assert_eq!((0..100).filter(|_| backend.may_retry(now)).count(), 20);
    assert_eq!((0..100).filter(|_| backend.may_retry(now + Duration::from_secs(1))).count(), 10);
}
