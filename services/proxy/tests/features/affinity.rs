//! Clients that stay with their endpoint.

use crate::support::{Answer, LISTEN, Process, Upstream, backend};

fn start(upstreams: &[Upstream], listen: &str, top: &str) -> Process {
    let endpoints: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let keys = "sticky_cookie = \"srv\"\nbalance = \"round_robin\"\neject_after = 1\neject_for = \"1h\"";
    Process::start(&format!(
        "{top}\n{LISTEN}backend = \"web\"\n{listen}\n{}",
        backend("web", &endpoints, keys)
    ))
}

/// The cookie of an answer, and the upstream that gave it.
fn first(proxy: &Process, upstreams: &[Upstream], fields: &str) -> (String, usize) {
    let reply = proxy.get("/", fields);
    let cookie = reply.one("set-cookie").split(';').next().unwrap().to_owned();
    (cookie, upstreams.iter().position(|upstream| upstream.count() == 1).unwrap())
}

#[test]
fn a_client_stays_with_its_endpoint_by_a_cookie() {
    let upstreams: Vec<_> = (0..3).map(|_| Upstream::start()).collect();
    let proxy = start(&upstreams, "", "");
    let reply = proxy.get("/", "");
    assert!(reply.one("set-cookie").ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{reply:?}");
    upstreams.iter().for_each(|upstream| drop(upstream.take()));
    for _ in 0..3 {
        let (cookie, at) = first(&proxy, &upstreams, "");
        for _ in 0..10 {
            let reply = proxy.get("/", &format!("Cookie: a=b; {cookie}\r\n"));
            assert!(reply.all("set-cookie").is_empty(), "it has one already");
            assert_eq!(upstreams[at].count(), 1);
        }
    }
}

#[test]
fn a_forged_cookie_chooses_nothing() {
    let upstreams: Vec<_> = (0..2).map(|_| Upstream::start()).collect();
    let proxy = start(&upstreams, "", "cookie_secret = \"a secret\"");
    let (cookie, _) = first(&proxy, &upstreams, "");
    let signature = cookie.rsplit('.').next().unwrap();
    for upstream in &upstreams {
        let name = upstream.address;
        for forged in [
            format!("srv={name}"),
            format!("srv={name}."),
            format!("srv={name}.0000000000000000"),
            format!("srv={name}.{}", signature.chars().rev().collect::<String>()),
            format!("srv={name}.{signature}00"),
            format!("other={}", &cookie[4..]),
        ] {
            let fields = format!("Cookie: {forged}\r\n");
            let (new, one) = first(&proxy, &upstreams, &fields);
            let (_, other) = first(&proxy, &upstreams, &fields);
            assert!(new.starts_with("srv=") && one != other, "{forged}");
        }
    }
}

#[test]
fn a_cookie_outlives_the_proxy_if_the_secret_is_in_the_file() {
    let upstreams: Vec<_> = (0..3).map(|_| Upstream::start()).collect();
    let secret = "cookie_secret = \"a secret\"";
    let (cookie, at) = first(&start(&upstreams, "", secret), &upstreams, "");
    let proxy = start(&upstreams, "", secret);
    for _ in 0..5 {
        assert!(proxy.get("/", &format!("Cookie: {cookie}\r\n")).all("set-cookie").is_empty());
        assert_eq!(upstreams[at].count(), 1);
    }
    let other = start(&upstreams, "", "cookie_secret = \"another\"");
    assert_eq!(other.get("/", &format!("Cookie: {cookie}\r\n")).all("set-cookie").len(), 1);
}

#[test]
fn a_client_whose_endpoint_is_left_out_gets_another_one_and_its_cookie() {
    let upstreams: Vec<_> = (0..2).map(|_| Upstream::start()).collect();
    let proxy = start(&upstreams, "", "");
    let (cookie, at) = first(&proxy, &upstreams, "");
    upstreams[at].answer(Answer::Bytes(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let fields = format!("Cookie: {cookie}\r\n");
    assert_eq!(proxy.get("/", &fields).status, 503);
    upstreams[at].take();
    let (new, now) = first(&proxy, &upstreams, &fields);
    assert!(new != cookie && now == 1 - at);
}
