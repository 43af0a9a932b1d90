//! The keys of `x-gantry.route` that say how proxies choose among a service's replicas.

use gantry_model::{Balance, HashOn, Policy, UpstreamProtocol, is_token};

use crate::section::Section;

const BALANCES: [(&str, Balance); 4] = [
    ("least_request", Balance::LeastRequest),
    ("round_robin", Balance::RoundRobin),
    ("random", Balance::Random),
    ("hash", Balance::Hash),
];

const PROTOCOLS: [(&str, Option<UpstreamProtocol>); 3] =
    [("auto", None), ("http1", Some(UpstreamProtocol::Http1)), ("http2", Some(UpstreamProtocol::Http2))];

/// Reads what one route says into the policy of the service `name`, which all its routes share.
pub fn read(route: &Section<'_>, name: &str, policy: &mut Policy) {
    let hash_on = hash_on(route);
    let balance = route.choice("balance", &BALANCES).or(hash_on.is_some().then_some(Balance::Hash));
    if hash_on.is_some() && balance != Some(Balance::Hash) {
        route.log.error(route.value_at("hash_on"), "hash_on is of use with balance: hash only");
    }
    put(route, "balance", &mut policy.balance, balance);
    put(route, "hash_on", &mut policy.hash_on, hash_on);
    put(route, "affinity", &mut policy.sticky_cookie, affinity(route, name));
    put(route, "connect_timeout", &mut policy.connect_timeout, route.duration("connect_timeout"));
    put(route, "idle_timeout", &mut policy.idle_timeout, route.duration("idle_timeout"));
    put(route, "max_concurrency", &mut policy.max_concurrency, route.number("max_concurrency"));
    put(route, "queue", &mut policy.queue_length, route.number("queue"));
    put(route, "queue_timeout", &mut policy.queue_timeout, route.duration("queue_timeout"));
    put(route, "retry_percent", &mut policy.retry_percent, percent(route, "retry_percent"));
    put(route, "slow_start", &mut policy.slow_start, route.duration("slow_start"));
    put(route, "eject_after", &mut policy.eject_after, route.number("eject_after"));
    put(route, "eject_for", &mut policy.eject_for, route.duration("eject_for"));
    put(route, "drain_timeout", &mut policy.drain_timeout, route.duration("drain_timeout"));
    let protocol = route.choice("upstream_protocol", &PROTOCOLS).flatten();
    put(route, "upstream_protocol", &mut policy.protocol, protocol);
}

fn put<T: PartialEq>(route: &Section<'_>, key: &str, known: &mut Option<T>, value: Option<T>) {
    let Some(value) = value else { return };
    if known.as_ref().is_some_and(|known| *known != value) {
        route.log.error_with(
            route.value_at(key),
            format!("another route of this service says {key} differently"),
            format!("{key} holds for the whole service: say it once"),
        );
        return;
    }
    *known = Some(value);
}

fn hash_on(route: &Section<'_>) -> Option<HashOn> {
    let text = route.text("hash_on")?;
    let read = HashOn::parse(&text);
    if read.is_none() {
        route.log.error(
            route.value_at("hash_on"),
            format!("hash_on must be source, header:NAME or cookie:NAME, and this is {text:?}"),
        );
    }
    read
}

/// The name of the cookie by which clients stay with their replica.
fn affinity(route: &Section<'_>, name: &str) -> Option<String> {
    let text = route.text("affinity")?;
    let cookie = match text.split_once(':') {
        None if text == "none" => return None,
        // Two services of one host must not take each other's.
        None if text == "cookie" => format!("gantry-{name}"),
        Some(("cookie", cookie)) if is_token(cookie) => cookie.to_owned(),
        _ => {
            route.log.error(
                route.value_at("affinity"),
                format!("affinity must be none, cookie or cookie:NAME, and this is {text:?}"),
            );
            return None;
        }
    };
    Some(cookie)
}

fn percent(route: &Section<'_>, key: &'static str) -> Option<u32> {
    let number: u32 = route.number(key)?;
    if number > 100 {
        route.log.error(route.value_at(key), format!("{key} goes up to 100, and this is {number}"));
        return None;
    }
    Some(number)
}
