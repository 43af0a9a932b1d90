//! What a network's device is to be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::managed::Segment;

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Stands for everybody in a tunnel's table: whom frames to nobody in particular are sent to.
    pub const ALL: Self = Self([0; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&parts.join(":"))
    }
}

/// That is no hardware address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hardware address")]
pub struct BadMac(String);

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac(text.to_owned());
        let bytes: Vec<u8> =
            text.split(':')
                .map(|part| {
                    if part.len() == 2 { u8::from_str_radix(part, 16).map_err(|_| bad()) } else { Err(bad()) }
                })
                .collect::<Result<_, _>>()?;
        bytes.try_into().map(Self).map_err(|_| bad())
    }
}

/// A VXLAN device as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// By this it is known as this cluster's.
    pub alias: String,
    /// The network's number.
    pub vni: u32,
    /// The node's address on the underlay.
    pub local: IpAddr,
    /// The largest packet.
    pub mtu: u32,
    /// The bridge that it is a port of.
    pub bridge: String,
    /// The other nodes' addresses.
    pub peers: BTreeSet<IpAddr>,
    /// Behind which of them a container is.
    pub endpoints: BTreeMap<Mac, IpAddr>,
}

impl Device {
    /// The device of a network; `None` for one that is on this node only.
    pub fn of(segment: &Segment, alias: &str) -> Option<Self> {
        let overlay = segment.overlay.as_ref()?;
        Some(Self {
            name: format!("gv-{:06x}", overlay.vni),
            alias: alias.to_owned(),
            vni: overlay.vni,
            local: overlay.local,
            mtu: segment.mtu,
            bridge: segment.bridge.clone(),
            peers: overlay.peers.iter().map(|peer| peer.underlay).collect(),
            endpoints: overlay.endpoints.iter().copied().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_reads_as_it_is_written() {
        let mac: Mac = "02:42:0a:c0:00:fa".parse().unwrap();
        assert_eq!(mac.0, [2, 0x42, 10, 192, 0, 250]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in ["", "02:42:0a:c0:00", "02:42:0a:c0:00:zz", "2:42:0a:c0:00:fa", "02:42:0a:c0:00:fa:00"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
