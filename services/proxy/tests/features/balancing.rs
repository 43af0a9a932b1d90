//! Which endpoint gets a request.

use std::net::SocketAddr;

use crate::support::{Answer, Gate, LISTEN, Process, Upstream, backend, eventually};

fn upstreams(count: usize) -> Vec<Upstream> {
    (0..count).map(|_| Upstream::start()).collect()
}

fn addresses(upstreams: &[Upstream]) -> Vec<SocketAddr> {
    upstreams.iter().map(|upstream| upstream.address).collect()
}

fn start(upstreams: &[Upstream], keys: &str) -> Process {
    let backend = backend("web", &addresses(upstreams), keys);
    Process::start(&format!("{LISTEN}backend = \"web\"\n{backend}"))
}

/// How many of so many requests on one connection each upstream gets.
fn shares(proxy: &Process, upstreams: &[Upstream], requests: usize) -> Vec<usize> {
    let mut client = proxy.client();
    for _ in 0..requests {
        assert_eq!(client.get("/", "").status, 200);
    }
    upstreams.iter().map(Upstream::count).collect()
}

#[test]
fn one_after_the_other_is_exact() {
    let upstreams = upstreams(3);
    let proxy = start(&upstreams, "balance = \"round_robin\"");
    assert_eq!(shares(&proxy, &upstreams, 300), [100, 100, 100]);
}

#[test]
fn one_after_the_other_stays_exact_with_a_limit_and_with_one_that_is_left_out() {
    let upstreams = upstreams(3);
    let limited = start(&upstreams, "balance = \"round_robin\"\nmax_concurrency = 100");
    assert_eq!(shares(&limited, &upstreams, 300), [100, 100, 100]);

    let left_out = start(&upstreams, "balance = \"round_robin\"\neject_after = 1\neject_for = \"1h\"");
    upstreams[0].answer(Answer::Bytes(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()));
    assert_eq!(left_out.get("/", "").status, 503);
    assert_eq!(upstreams[0].count(), 1);
    let shares = shares(&left_out, &upstreams, 300);
    assert_eq!(shares[0], 0);
    assert!(shares[1] >= 100 && shares[2] >= 100, "{shares:?}: those that are left share what there is");
}

#[test]
fn weights_are_exact() {
    let upstreams = upstreams(3);
    let endpoints: Vec<_> = upstreams
        .iter()
        .zip([1, 2, 7])
        .map(|(upstream, weight)| format!("{{ address = \"{}\", weight = {weight} }}", upstream.address))
        .collect();
    let proxy = Process::start(&format!(
        "{LISTEN}backend = \"web\"\n[backend.web]\nendpoints = [{}]\nbalance = \"round_robin\"\n",
        endpoints.join(", ")
    ));
    assert_eq!(shares(&proxy, &upstreams, 100), [10, 20, 70]);
}

#[test]
fn ten_per_cent_of_a_thousand_requests_are_a_hundred() {
    let upstreams = upstreams(3);
    let all = addresses(&upstreams);
    let proxy = Process::start(&format!(
        "{LISTEN}backend = \"web\"\n[backend.web]\ngroups = [{{ name = \"old\", weight = 90, endpoints = \
         [\"{}\", \"{}\"] }}, {{ name = \"new\", weight = 10, endpoints = [\"{}\"] }}, {{ name = \"off\", weight = \
         0, endpoints = [\"127.0.0.1:9\"] }}]\n",
        all[0], all[1], all[2]
    ));
    let shares = shares(&proxy, &upstreams, 1000);
    assert_eq!((shares[0] + shares[1], shares[2]), (900, 100));
}

#[test]
fn everybody_gets_something_in_every_way_of_balancing() {
    for balance in ["least_request", "random"] {
        let upstreams = upstreams(3);
        let proxy = start(&upstreams, &format!("balance = \"{balance}\""));
        let shares = shares(&proxy, &upstreams, 300);
        // 100 is expected, with a deviation of 8.
        assert!(shares.iter().all(|share| (40..=160).contains(share)), "{balance}: {shares:?}");
    }
}

#[test]
fn an_endpoint_that_is_at_work_gets_less_than_one_that_is_not() {
    let upstreams = upstreams(2);
    let proxy = start(&upstreams, "");
    let (slow, fast) = (Gate::default(), Gate::default());
    upstreams[0].answer(Answer::Held(slow.clone()));
    upstreams[1].answer(Answer::Held(fast.clone()));
    let mut clients = [proxy.client(), proxy.client()];
    for (client, at_work) in clients.iter_mut().zip([1, 2]) {
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut seen = 0;
        assert!(eventually(|| {
            seen += upstreams[0].count() + upstreams[1].count();
            seen == 1
        }));
        assert!(at_work <= 2, "the second went to the other endpoint, or its answer would not be held");
    }
    fast.open();
    assert!(eventually(|| proxy.get("/warm", "").status == 200 && upstreams[0].count() == 0));
    upstreams[1].take();
    assert_eq!(shares(&proxy, &upstreams, 50), [0, 50]);
    slow.open();
    assert!(clients.iter_mut().all(|client| client.reply().unwrap().status == 200));
}

/// Which upstream gets a request with these fields, for each of them.
fn places(proxy: &Process, upstreams: &[Upstream], fields: impl Fn(usize) -> String) -> Vec<usize> {
    let mut client = proxy.client();
    (0..60)
        .map(|at| {
            assert_eq!(client.get("/", &fields(at)).status, 200);
            upstreams.iter().position(|upstream| upstream.count() == 1).unwrap()
        })
        .collect()
}

fn assert_spread(places: &[usize], upstreams: usize) {
    for at in 0..upstreams {
        let count = places.iter().filter(|place| **place == at).count();
        assert!(count > 0 && count < places.len(), "{places:?}");
    }
}

#[test]
fn the_same_header_leads_to_the_same_endpoint() {
    let upstreams = upstreams(3);
    let keys = "balance = \"hash\"\nhash_on = { header = \"x-user\" }";
    let proxy = start(&upstreams, keys);
    let by_user = |proxy: &Process| places(proxy, &upstreams, |at| format!("X-User: user-{at}\r\n"));
    let first = by_user(&proxy);
    assert_spread(&first, 3);
    assert_eq!(by_user(&proxy), first);
    // Another proxy decides in the same way, and an endpoint that leaves takes only its own along.
    let fewer = start(&upstreams[..2], keys);
    for (before, after) in first.iter().zip(by_user(&fewer)) {
        assert!(*before == 2 || *before == after, "{before} {after}");
    }
    // Those without the header are not all one client.
    assert_spread(&places(&proxy, &upstreams, |_| String::new()), 3);
}

#[test]
fn the_same_cookie_leads_to_the_same_endpoint() {
    let upstreams = upstreams(3);
    let proxy = start(&upstreams, "balance = \"hash\"\nhash_on = { cookie = \"session\" }");
    let by_session =
        |proxy: &Process| places(proxy, &upstreams, |at| format!("Cookie: a=b; session={at}; c=d\r\n"));
    let first = by_session(&proxy);
    assert_spread(&first, 3);
    assert_eq!(by_session(&proxy), first);
    assert_spread(&places(&proxy, &upstreams, |_| "Cookie: a=b\r\n".to_owned()), 3);
}

#[test]
fn the_same_client_address_leads_to_the_same_endpoint() {
    let upstreams = upstreams(3);
    let proxy = Process::start(&format!(
        "{LISTEN}backend = \"web\"\nproxy_protocol_from = [\"127.0.0.1\"]\n{}",
        backend("web", &addresses(&upstreams), "balance = \"hash\""),
    ));
    let place = |client: usize, port: usize| {
        let mut connection = proxy.client();
        connection.send(format!("PROXY TCP4 192.0.2.{client} 127.0.0.1 {port} 80\r\n").as_bytes());
        assert_eq!(connection.get("/", "").status, 200);
        upstreams.iter().position(|upstream| upstream.count() == 1).unwrap()
    };
    let first: Vec<_> = (0..60).map(|client| place(client, 1000)).collect();
    assert_spread(&first, 3);
    let again: Vec<_> = (0..60).map(|client| place(client, 2000)).collect();
    assert_eq!(again, first, "whatever their port");
}
