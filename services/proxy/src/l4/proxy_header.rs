//! The header that says for whom a connection is made: HAProxy's PROXY protocol, versions 1 and 2
//! (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1.
const MAX_LINE: usize = 107;
/// Addresses and what else may follow them in version 2.
const MAX_REST: usize = 4096;

/// The header of `version` for a connection from `client` to `local`.
pub fn write(version: u8, client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let (from, to) = (client.ip().to_canonical(), local.ip().to_canonical());
    let (from, to) = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => (from, to),
        (IpAddr::V4(from), IpAddr::V6(to)) => (IpAddr::V6(from.to_ipv6_mapped()), IpAddr::V6(to)),
        (IpAddr::V6(from), IpAddr::V4(to)) => (IpAddr::V6(from), IpAddr::V6(to.to_ipv6_mapped())),
    };
    if version == 1 {
        let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
        return format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes();
    }
    let mut header = SIGNATURE.to_vec();
    header.push(0x21);
    let addresses = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.push(0x11);
            [from.octets(), to.octets()].concat()
        }
        (from, to) => {
            header.push(0x21);
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            [octets(from), octets(to)].concat()
        }
    };
    header.extend_from_slice(&u16::try_from(addresses.len() + 4).unwrap_or(0).to_be_bytes());
    header.extend_from_slice(&addresses);
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&local.port().to_be_bytes());
    header
}

/// Reads a header from the start of a connection. Answers whom it is made for (`None`: for the one that
/// connected), and leaves what was read past it in `buffer`.
pub async fn read(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<SocketAddr>> {
    loop {
        match parse(buffer) {
            Ok(Some((length, client))) => {
                buffer.advance(length);
                return Ok(client);
            }
            Ok(None) => {}
            Err(()) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "no PROXY protocol header came first",
                ));
            }
        }
        if io.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

type Parsed = Option<(usize, Option<SocketAddr>)>;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ()> {
    let length = bytes.len().min(SIGNATURE.len());
    if bytes[..length] == SIGNATURE[..length] {
        return if bytes.len() < 16 { Ok(None) } else { binary(bytes) };
    }
    let length = bytes.len().min(6);
    if bytes[..length] != b"PROXY "[..length] {
        return Err(());
    }
    match bytes.windows(2).take(MAX_LINE).position(|pair| pair == b"\r\n") {
        Some(end) => line(&bytes[..end]).map(|client| Some((end + 2, client))),
        None if bytes.len() > MAX_LINE => Err(()),
        None => Ok(None),
    }
}

fn line(line: &[u8]) -> Result<Option<SocketAddr>, ()> {
    let text = std::str::from_utf8(line).map_err(|_| ())?;
    let words: Vec<_> = text.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", "TCP4" | "TCP6", from, _, port, _] => {
            let ip: IpAddr = from.parse().map_err(|_| ())?;
            let port: u16 = port.parse().map_err(|_| ())?;
            Ok(Some((ip, port).into()))
        }
        _ => Err(()),
    }
}

fn binary(bytes: &[u8]) -> Result<Parsed, ()> {
    let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if rest > MAX_REST || bytes[12] >> 4 != 2 {
        return Err(());
    }
    let Some(addresses) = bytes.get(16..16 + rest) else { return Ok(None) };
    let client = match (bytes[12] & 15, bytes[13]) {
        // A health check of the proxy itself.
        (0, _) => None,
        (1, 0x11) => {
            let ip: [u8; 4] = addresses.get(..4).and_then(|ip| ip.try_into().ok()).ok_or(())?;
            let port = addresses.get(8..10).ok_or(())?;
            Some(SocketAddr::from((ip, u16::from_be_bytes([port[0], port[1]]))))
        }
        (1, 0x21) => {
            let ip: [u8; 16] = addresses.get(..16).and_then(|ip| ip.try_into().ok()).ok_or(())?;
            let port = addresses.get(32..34).ok_or(())?;
            Some(SocketAddr::from((ip, u16::from_be_bytes([port[0], port[1]]))))
        }
        (1, _) => None,
        _ => return Err(()),
    };
    Ok(Some((16 + rest, client)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read_again_and_nothing_of_the_rest_is_lost() {
        for (client, local) in [
            ("192.0.2.1:5", "192.0.2.9:80"),
            ("[2001:db8::1]:5", "[2001:db8::9]:80"),
            ("192.0.2.1:5", "[::1]:80"),
        ] {
            let (client, local): (SocketAddr, SocketAddr) = (client.parse().unwrap(), local.parse().unwrap());
            for version in [1, 2] {
                let mut bytes = write(version, client, local);
                bytes.extend_from_slice(b"GET /");
                let mut buffer = BytesMut::new();
                let read = read(&mut bytes.as_slice(), &mut buffer).await.unwrap().unwrap();
                assert_eq!((read.ip().to_canonical(), read.port()), (client.ip(), client.port()));
                assert_eq!(&buffer[..], b"GET /");
            }
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for bad in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 x y 1 2\r\n",
            b"PROXY ",
            &[b'P'; 3],
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        ] {
            let mut buffer = BytesMut::new();
            assert!(read(&mut &bad[..], &mut buffer).await.is_err(), "{bad:?}");
        }
        let mut long = b"PROXY TCP4 ".to_vec();
        long.resize(300, b'1');
        assert!(parse(&long).is_err());
    }
}
