//! Another file while requests go on.

use crate::support::client::Client;
use crate::support::{Answer, Gate, LISTEN, Process, Upstream, backend, eventually};

fn file(upstream: &Upstream, version: &str) -> String {
    format!(
        "admin = \"127.0.0.1:@z\"\n{LISTEN}routed = true\n[[route]]\nbackend = \"web\"\nresponse_headers = {{ \
         x-version = \"{version}\" }}\n{}",
        backend("web", &[upstream.address], "")
    )
}

fn version(client: &mut Client) -> String {
    let reply = client.get("/", "");
    assert_eq!(reply.status, 200);
    reply.one("x-version").to_owned()
}

#[test]
fn a_changed_file_is_served_by_on_connections_that_are_there() {
    let upstream = Upstream::start();
    let proxy = Process::start(&file(&upstream, "1"));
    let mut clients = [proxy.client(), proxy.client()];
    let gate = Gate::default();
    upstream.answer(Answer::Held(gate.clone()));
    let mut waiting = proxy.client();
    waiting.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.wait();
    for client in &mut clients {
        assert_eq!(version(client), "1");
    }
    proxy.change(&file(&upstream, "2"));
    for client in &mut clients {
        assert!(eventually(|| version(client) == "2"));
    }
    gate.open();
    let reply = waiting.reply().unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "GET /waits"), "what was in flight ends well");
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let upstream = Upstream::start();
    let proxy = Process::start(&file(&upstream, "1"));
    let mut client = proxy.client();
    proxy.change(&file(&upstream, "2").replace("[[route]]\nbackend", "[[route]]\nbakend"));
    assert!(eventually(|| proxy.output().contains("did you mean backend?")), "{}", proxy.output());
    assert_eq!(version(&mut client), "1");
    proxy.change(&file(&upstream, "3"));
    assert!(eventually(|| version(&mut client) == "3"));
}

#[test]
fn endpoints_come_and_go_and_requests_in_flight_end() {
    let (old, new) = (Upstream::start(), Upstream::start());
    let proxy = Process::start(&file(&old, "1"));
    let gate = Gate::default();
    old.answer(Answer::Held(gate.clone()));
    let mut waiting = proxy.client();
    waiting.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    old.wait();
    proxy.change(&file(&new, "2"));
    let mut client = proxy.client();
    assert!(eventually(|| version(&mut client) == "2"));
    old.take();
    (0..20).for_each(|_| assert_eq!(version(&mut client), "2"));
    assert_eq!(old.count(), 0, "nothing new goes to who has left");
    assert!(proxy.page("/endpoints").contains("\"leaving\":true"));
    gate.open();
    assert_eq!(waiting.reply().unwrap().text(), "GET /waits");
}

#[test]
fn ports_come_and_go() {
    let upstream = Upstream::start();
    let more = "[[listen]]\naddress = \"127.0.0.1\"\nport = @b\nrouted = true\nprotocol = \"http\"\n";
    let both = file(&upstream, "1").replace("[[route]]", &format!("{more}[[route]]"));
    let proxy = Process::start(&both);
    assert_eq!(version(&mut Client::connect(proxy.at('b'))), "1");
    let mut kept = Client::connect(proxy.at('b'));
    assert_eq!(version(&mut kept), "1");
    proxy.change(&file(&upstream, "2"));
    assert!(eventually(|| std::net::TcpStream::connect(proxy.at('b')).is_err()), "it is not listened on");
    assert_eq!(version(&mut proxy.client()), "2");
    proxy.change(&both.replace("\"1\"", "\"3\""));
    assert!(eventually(|| std::net::TcpStream::connect(proxy.at('b')).is_ok()));
    assert!(eventually(|| version(&mut Client::connect(proxy.at('b'))) == "3"));
}
