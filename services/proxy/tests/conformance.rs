//! What the proxy does with requests and responses that are wrong, strange or hostile, seen from outside:
//! bytes on sockets. What two servers could read differently must never reach an upstream (RFC 9110,
//! RFC 9112, RFC 9113); whatever is refused has a status and ends the connection.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)]
// What is done a few times may be written in the shortest way.
#![allow(clippy::format_collect, clippy::naive_bytecount, clippy::needless_for_each)]

mod support;

#[path = "conformance/connections.rs"]
mod connections;
#[path = "conformance/floods.rs"]
mod floods;
#[path = "conformance/forwarding.rs"]
mod forwarding;
#[path = "conformance/framing.rs"]
mod framing;
#[path = "conformance/heads.rs"]
mod heads;
#[path = "conformance/http2.rs"]
mod http2;
#[path = "conformance/responses.rs"]
mod responses;
#[path = "conformance/targets.rs"]
mod targets;
