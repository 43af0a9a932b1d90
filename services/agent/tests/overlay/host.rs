//! What the agent of one host does: its interfaces and its rules.

use std::sync::Arc;

use gantry_agent::firewall::Table;
use gantry_agent::managed::{Joint, Networks, Peer, Segment};
use gantry_agent::overlay::Overlay;
use gantry_model::{ClusterId, NodeId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::NUMBER;

fn networks(own: u8) -> Networks {
    let other = 3 - own;
    let segments = [0, 1].map(|network: u8| Segment {
        name: format!("shop_{network}"),
        bridge: format!("gt-{:06x}", NUMBER + u32::from(network)),
        subnet: format!("10.192.{network}.0/24"),
        gateway: format!("10.192.{network}.{own}"),
        ip_range: String::new(),
        mtu: 1400,
        internal: false,
        labels: Default::default(),
        overlay: Some(Joint {
            vni: NUMBER + u32::from(network),
            local: [192, 0, 2, own].into(),
            peers: vec![Peer {
                node: NodeId::new(format!("n{other}")).unwrap(),
                underlay: [192, 0, 2, other].into(),
                gateway: [10, 192, network, other].into(),
            }],
            endpoints: Vec::new(),
        }),
    });
    Networks { segments: segments.into(), redirect: None, members: vec![[192, 0, 2, other].into()] }
}

/// Keeps host `own` until the process is ended.
pub fn run(own: u8) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = ClusterId::new("test").unwrap();
        let (_wanted, wanted) = watch::channel(Arc::new(networks(own)));
        let (_made, made) = watch::channel(0);
        let (_engine, engine) = watch::channel(None);
        let (problem, _) = watch::channel(None);
        let stop = CancellationToken::new();
        // Rules first: no frame is to slip in between.
        tokio::join!(
            Table::new("nft", &cluster).keep(wanted.clone(), engine.clone(), problem.clone(), stop.clone()),
            Overlay::new(&cluster).keep(wanted, made, engine, problem, stop),
        );
    });
}
