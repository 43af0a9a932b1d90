//! Joins this node's networks to their parts on other nodes.
//!
//! Each network that other nodes have too gets a VXLAN device as one more port of its bridge. Frames to
//! nobody in particular go to all of the network's nodes, and who is where is learned from what comes in.
//! Every few seconds what is there is compared with what is to be there ([`plan`]), so that what an engine,
//! a host or a person takes away comes back. [`probes`] tries the ways that result.

mod device;
mod kernel;
mod plan;
pub mod probes;

use std::sync::Arc;
use std::time::Duration;

use gantry_model::ClusterId;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::managed::Networks;
use device::Device;
pub use device::Mac;
use kernel::Kernel;
use plan::{Entered, plan};

/// The port of the overlay, the same on every node.
pub const PORT: u16 = 7074;
/// How often devices are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// The kernel answers at once, unless it hangs.
const HANGS: Duration = Duration::from_secs(10);
/// Changes that come together are worked on together.
const GATHER: Duration = Duration::from_millis(10);

/// The devices of one cluster.
pub struct Overlay {
    /// By this a device is known as Gantry's.
    alias: String,
    entered: Option<Entered>,
}

impl Overlay {
    /// The devices of `cluster`, as they are.
    pub fn new(cluster: &ClusterId) -> Self {
        Self { alias: format!("gantry {cluster}"), entered: None }
    }

    /// Makes the devices what they are to be, until `stop`. `bridges` tells of each bridge that was made, and
    /// `engine` of an engine that went away or came back. `problem` says why devices are not what they are to
    /// be; nothing while they are.
    pub async fn keep(
        mut self,
        mut wanted: watch::Receiver<Arc<Networks>>,
        mut bridges: watch::Receiver<u64>,
        mut engine: watch::Receiver<Option<String>>,
        problem: watch::Sender<Option<String>>,
        stop: CancellationToken,
    ) {
        loop {
            let networks = wanted.borrow_and_update().clone();
            let outcome = self.ensure(&networks).await.err();
            problem.send_if_modified(|known| {
                if *known == outcome {
                    return false;
                }
                match &outcome {
                    Some(error) => {
                        tracing::error!(error, "networks cannot be joined to those of other nodes");
                    }
                    None => tracing::info!("networks are joined to those of other nodes"),
                }
                *known = outcome;
                true
            });
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = wanted.changed() => {}
                Ok(()) = bridges.changed() => {}
                Ok(()) = engine.changed() => {}
                () = sleep(LOOK_AGAIN) => continue,
            }
            sleep(GATHER).await;
        }
    }

    /// One look, and what follows from it.
    async fn ensure(&mut self, networks: &Networks) -> Result<(), String> {
        let wanted: Vec<Device> =
            networks.segments.iter().filter_map(|segment| Device::of(segment, &self.alias)).collect();
        let work = async {
            let kernel = Kernel::open()?;
            let seen = kernel.look().await?;
            let changes = plan(&wanted, &seen, &self.alias, self.entered.as_ref())?;
            let mut outcome = Ok(());
            for change in changes {
                tracing::debug!(%change, "changing the overlay");
                // What fails for one network does not keep the others.
                if let Err(error) = kernel.apply(&change).await {
                    outcome = outcome.and(Err(format!("cannot {change}: {error}")));
                }
            }
            outcome
        };
        let outcome = timeout(HANGS, work)
            .await
            .unwrap_or_else(|_| Err(format!("the kernel did not answer within {} s", HANGS.as_secs())));
        if outcome.is_ok() {
            self.entered = Some(plan::entered(&wanted));
        }
        outcome
    }

    /// Takes all devices of the cluster away.
    pub async fn remove(mut self) -> Result<(), String> {
        self.ensure(&Networks::default()).await
    }
}
