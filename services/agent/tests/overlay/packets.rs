//! Those who listen, ask and forge, each in a namespace of its own.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use gantry_agent::overlay::PORT;

use super::NUMBER;

const AT: u16 = 9999;

/// Answers whoever asks, and says what it hears.
pub fn listen() {
    let socket = UdpSocket::bind(("0.0.0.0", AT)).unwrap();
    let mut packet = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut packet).unwrap();
        let word = String::from_utf8_lossy(&packet[..length]);
        if word == "ask" {
            socket.send_to(b"answer", from).unwrap();
        } else {
            println!("heard {word}");
        }
    }
}

/// Ends well if it is answered.
pub fn ask(address: &str) {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    // Where no way leads there this fails at once.
    let asked = socket.send_to(b"ask", (address, AT));
    let answered = asked.is_ok() && socket.recv(&mut [0; 16]).is_ok_and(|length| length == 6);
    assert!(answered, "no answer");
}

/// A frame of the first network for the container on the host at `to`, sent to that host's end of the tunnel.
pub fn forge(to: &str, from: &str, word: &str) {
    let host: Ipv4Addr = to.parse().unwrap();
    let last = 10 + host.octets()[3];
    let socket = UdpSocket::bind((from, 0)).unwrap();
    let datagram =
        [&40_000_u16.to_be_bytes(), &AT.to_be_bytes(), &length(8 + word.len()), &[0, 0], word.as_bytes()]
            .concat();
    let mut header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 192, 0, 99, 10, 192, 0, last];
    header[2..4].copy_from_slice(&length(20 + datagram.len()));
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let ethernet = [[0x02, 0x42, 10, 192, 0, last], [0x02, 0x42, 10, 192, 0, 99]].concat();
    let tunnel = [&[8, 0, 0, 0], &(NUMBER << 8).to_be_bytes()[..]].concat();
    let packet = [tunnel, ethernet, vec![8, 0], header.to_vec(), datagram].concat();
    socket.send_to(&packet, (host, PORT)).unwrap();
}

fn length(of: usize) -> [u8; 2] {
    u16::try_from(of).unwrap().to_be_bytes()
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}
