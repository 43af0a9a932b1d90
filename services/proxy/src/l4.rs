//! Below HTTP: bytes and packets that are passed on as they are.

#[cfg(test)]
mod fuzz;
mod join;
pub mod proxy_header;
mod sniff;
mod tcp;
mod udp;

pub use join::join;
pub use sniff::{Kind, Rewind, sniff};
pub use tcp::{Opening, open, serve};
pub use udp::serve as serve_udp;
