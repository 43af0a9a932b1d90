//! TCP and UDP: bytes and packets that are passed on as they are.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use crate::support::{DEADLINE, Process, Refusing, Upstream, backend, eventually};

/// An upstream that does this with each connection.
fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut part) {
        stream.write_all(&part[..count]).unwrap();
    }
}

fn start(endpoints: &[SocketAddr], listen: &str, keys: &str) -> Process {
    let backend = backend("db", endpoints, keys);
    Process::start(&format!(
        "admin = \"127.0.0.1:@z\"\n[[listen]]\naddress = \"127.0.0.1\"\nport = @a\nbackend = \
         \"db\"\n{listen}\n{backend}"
    ))
}

fn connect(proxy: &Process) -> TcpStream {
    let stream = TcpStream::connect(proxy.at('a')).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// With the protocol declared, and found out.
const BOTH: [&str; 2] = ["protocol = \"tcp\"", ""];

#[test]
fn a_server_may_speak_first() {
    let address = server(|mut stream| {
        stream.write_all(b"220 ready\r\n").unwrap();
        echo(stream);
    });
    for protocol in BOTH {
        let proxy = start(&[address], protocol, "");
        let mut stream = connect(&proxy);
        let mut greeting = [0; 11];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"220 ready\r\n");
        stream.write_all(b"HELO\r\n").unwrap();
        let mut back = [0; 6];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"HELO\r\n");
    }
}

#[test]
fn a_client_may_speak_first() {
    for protocol in BOTH {
        let proxy = start(&[server(echo)], protocol, "");
        let mut stream = connect(&proxy);
        for text in ["*1\r\n$4\r\nPING\r\n", "\0\u{1}", "GET / HTTP/1.1\r\n"] {
            stream.write_all(text.as_bytes()).unwrap();
            let mut back = vec![0; text.len()];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, text.as_bytes(), "{protocol}");
        }
    }
}

#[test]
fn who_has_said_everything_still_hears_everything() {
    // Answers only once the other side is done.
    let address = server(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.reverse();
        stream.write_all(&all).unwrap();
    });
    for protocol in BOTH {
        let proxy = start(&[address], protocol, "");
        let mut stream = connect(&proxy);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        back.reverse();
        assert!(back == sent, "{protocol}: {} bytes came back", back.len());
    }
}

#[test]
fn a_server_that_has_said_everything_still_hears_everything() {
    let (sender, heard) = std::sync::mpsc::channel();
    let address = server(move |mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        sender.send(all).unwrap();
    });
    let proxy = start(&[address], "protocol = \"tcp\"", "");
    let mut stream = connect(&proxy);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"bye");
    stream.write_all(b"wait, one more thing").unwrap();
    drop(stream);
    assert_eq!(heard.recv_timeout(DEADLINE).unwrap(), b"wait, one more thing");
}

/// Whether so many wait for a place.
fn waiting(proxy: &Process, count: usize) -> bool {
    let line = format!("gantry_proxy_waiting{{service=\"db\",port=\"\"}} {count}\n");
    eventually(|| proxy.page("/metrics").contains(&line))
}

/// The only place, and long patience of those who wait for it.
const ONE: &str = "max_concurrency = 1\nqueue_timeout = \"1h\"";

/// Says something, and hears the same.
fn talk(stream: &mut TcpStream) {
    let mut back = [0; 3];
    stream.write_all(b"*1\r").unwrap();
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"*1\r");
}

#[test]
fn who_waits_and_goes_leaves_its_place_and_who_has_said_something_keeps_it() {
    for protocol in BOTH {
        let proxy = start(&[server(echo)], protocol, ONE);
        let mut first = connect(&proxy);
        talk(&mut first);
        let silent = connect(&proxy);
        assert!(waiting(&proxy, 1), "{protocol}");
        drop(silent);
        assert!(waiting(&proxy, 0), "{protocol}");
        // One that has said everything may still want the answer.
        let mut asking = connect(&proxy);
        asking.write_all(b"*2\r\n").unwrap();
        asking.shutdown(Shutdown::Write).unwrap();
        assert!(waiting(&proxy, 1), "{protocol}");
        drop(first);
        let mut back = Vec::new();
        asking.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"*2\r\n", "{protocol}");
    }
}

#[test]
fn what_is_said_by_who_waits_is_passed_on_in_order() {
    for protocol in BOTH {
        let proxy = start(&[server(echo)], protocol, ONE);
        let mut first = connect(&proxy);
        talk(&mut first);
        let mut second = connect(&proxy);
        assert!(waiting(&proxy, 1), "{protocol}");
        // More than is kept of it while it waits.
        let sent: Vec<u8> = (0..100_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        second.write_all(&sent).unwrap();
        drop(first);
        let mut back = vec![0; sent.len()];
        second.read_exact(&mut back).unwrap();
        assert!(back == sent, "{protocol}");
    }
}

#[test]
fn who_waits_where_nothing_is_served_any_more_is_let_go_at_once() {
    for protocol in BOTH {
        let endpoint = server(echo);
        let proxy = start(&[endpoint], protocol, &format!("{ONE}\n# Later: @b"));
        let mut first = connect(&proxy);
        talk(&mut first);
        let mut second = connect(&proxy);
        assert!(waiting(&proxy, 1), "{protocol}");
        let elsewhere =
            "admin = \"127.0.0.1:@z\"\n[[listen]]\naddress = \"127.0.0.1\"\nport = @b\nbackend = \"db\"\n";
        proxy.change(&format!("{elsewhere}{}", backend("db", &[endpoint], ONE)));
        assert!(matches!(second.read(&mut [0]), Ok(0)), "{protocol}");
        talk(&mut first);
    }
}

#[test]
fn a_port_without_a_protocol_takes_http_and_everything_else() {
    let upstream = Upstream::start();
    let proxy = start(&[upstream.address], "", "");
    assert_eq!(proxy.get("/", "").status, 200);
    assert!(upstream.wait().has("x-forwarded-for"), "it was read as HTTP");
    // A client that begins with something else is not looked at any more.
    let mut client = proxy.client();
    client.send(b"XGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply().unwrap().text(), "XGET /");
    assert!(!upstream.wait().has("x-forwarded-for"));
}

#[test]
fn a_connection_goes_to_an_endpoint_that_takes_it() {
    let refusing = Refusing::start();
    let proxy = start(&[refusing.address(), server(echo)], "protocol = \"tcp\"", "balance = \"round_robin\"");
    for _ in 0..6 {
        let mut stream = connect(&proxy);
        stream.write_all(b"ping").unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).unwrap();
    }
    let nowhere = start(&[refusing.address()], "protocol = \"tcp\"", "");
    assert_eq!(connect(&nowhere).read(&mut [0; 1]).unwrap_or(0), 0, "nobody is there, so it ends");
}

#[test]
fn connections_that_wait_for_a_place_are_as_many_as_may_wait() {
    let keys = "max_concurrency = 1\nqueue_length = 1\nqueue_timeout = \"20s\"";
    let proxy = start(&[server(echo)], "protocol = \"tcp\"", keys);
    let ping = |stream: &mut TcpStream| {
        let mut back = [0; 4];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"ping");
    };
    let mut first = connect(&proxy);
    first.write_all(b"ping").unwrap();
    ping(&mut first);
    let mut second = connect(&proxy);
    second.write_all(b"ping").unwrap();
    let one = "gantry_proxy_waiting{service=\"db\",port=\"\"} 1\n";
    assert!(eventually(|| proxy.page("/metrics").contains(one)));
    assert_eq!(connect(&proxy).read(&mut [0; 1]).unwrap_or(0), 0, "the queue is full");
    drop(first);
    ping(&mut second);
}

#[test]
fn a_connection_on_which_nothing_happens_is_ended() {
    let proxy = start(&[server(echo)], "protocol = \"tcp\"", "idle_timeout = \"500ms\"");
    let mut stream = connect(&proxy);
    stream.write_all(b"ping").unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    assert_eq!(all, b"ping");
}

/// A UDP upstream that answers with its name and the packet.
fn udp_server(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = vec![0; 65_536];
        while let Ok((size, from)) = socket.recv_from(&mut packet) {
            let answer = [name.as_bytes(), b" ", &packet[..size]].concat();
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

fn udp_client(proxy: &Process) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(proxy.at('a')).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn ask(socket: &UdpSocket, text: &str) -> String {
    socket.send(text.as_bytes()).unwrap();
    let mut packet = vec![0; 65_536];
    let size = socket.recv(&mut packet).expect("an answer");
    String::from_utf8(packet[..size].to_vec()).unwrap()
}

#[test]
fn packets_of_one_client_go_to_one_endpoint_and_answers_come_back() {
    let endpoints = [udp_server("one"), udp_server("two")];
    let proxy = start(&endpoints, "udp = true", "balance = \"round_robin\"");
    let clients = [udp_client(&proxy), udp_client(&proxy)];
    let mut names = BTreeSet::new();
    for (at, client) in clients.iter().enumerate() {
        // Already the first packet arrives.
        let first = ask(client, &format!("first of {at}"));
        let name = first.split(' ').next().unwrap().to_owned();
        assert_eq!(first, format!("{name} first of {at}"));
        for count in 0..20 {
            assert_eq!(ask(client, &format!("{at} {count}")), format!("{name} {at} {count}"));
        }
        names.insert(name);
    }
    assert_eq!(names.len(), 2, "each has its own endpoint");
    let large = "x".repeat(60_000);
    assert!(ask(&clients[0], &large).ends_with(&large));
    let page: serde_json::Value = serde_json::from_str(&proxy.page("/endpoints")).unwrap();
    let in_flight: Vec<_> = page.as_array().unwrap().iter().map(|endpoint| &endpoint["in_flight"]).collect();
    assert_eq!(in_flight, [1, 1], "a session is in flight");
}

#[test]
fn a_session_ends_when_nothing_comes_for_a_while() {
    let proxy = start(&[udp_server("one")], "udp = true", "idle_timeout = \"500ms\"");
    let client = udp_client(&proxy);
    assert_eq!(ask(&client, "hello"), "one hello");
    assert!(
        eventually(|| proxy.page("/endpoints").contains("\"in_flight\":0")),
        "also if nobody sends anything any more: {}",
        proxy.page("/endpoints")
    );
    assert_eq!(ask(&client, "again"), "one again");
}
