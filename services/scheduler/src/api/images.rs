//! Finds out what the images of a stack stand for, by asking a node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_api::cluster::v1::ApplyProgress;
use gantry_api::node::v1::ImageWanted;
use gantry_api::node::v1::open_relay::Want;
use gantry_api::node::v1::relay_request::Message as FromAgent;
use gantry_model::{Node, PullPolicy, Snapshot, StackSpec};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::admit::Resolved;
use crate::session::Relays;

/// A pull that makes no progress for this long has failed.
const STALLED: Duration = Duration::from_mins(2);

/// How far to go for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Pull it if its policy says so; an image that cannot be had is an error.
    Pull,
    /// Only look what is there.
    Look,
}

/// The images of `spec` by name. Steps of pulls go to `progress`.
pub async fn resolve(
    snapshot: &Snapshot,
    relays: &Relays,
    spec: &StackSpec,
    reach: Reach,
    progress: Option<&mpsc::Sender<ApplyProgress>>,
) -> Result<BTreeMap<String, Resolved>, Status> {
    let wanted: BTreeSet<(String, String, bool, bool)> = spec
        .services
        .values()
        .map(|service| {
            let container = &service.container;
            (
                container.image.clone(),
                container.platform.clone().unwrap_or_default(),
                service.pull_policy == PullPolicy::Always && reach == Reach::Pull,
                service.pull_policy == PullPolicy::Never || reach == Reach::Look,
            )
        })
        .collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let node = ready_node(snapshot)?;
    let mut resolved = BTreeMap::new();
    for (image, platform, always_pull, never_pull) in wanted {
        let ask = ImageWanted { image: image.clone(), always_pull, never_pull, platform, timeout: None };
        let found = match resolve_one(relays, node, ask, progress).await {
            Ok(found) => found,
            Err(status) if status.code() == Code::NotFound && reach == Reach::Look => Resolved::default(),
            Err(status) => {
                return Err(Status::new(status.code(), format!("image {image}: {}", status.message())));
            }
        };
        resolved.insert(image, found);
    }
    Ok(resolved)
}

fn ready_node(snapshot: &Snapshot) -> Result<&Node, Status> {
    let mut reasons = Vec::new();
    for node in snapshot.nodes.values() {
        match snapshot.node_statuses.get(&node.id).map(|status| status.problem()) {
            Some(None) => return Ok(node),
            Some(Some(problem)) => reasons.push(format!("{}: {problem}", node.name)),
            None => reasons
                .push(format!("{}: its agent has not connected since the scheduler started", node.name)),
        }
    }
    Err(Status::unavailable(if reasons.is_empty() {
        "no node has joined yet: is an agent running?".to_owned()
    } else {
        format!("no node is ready ({})", reasons.join("; "))
    }))
}

async fn resolve_one(
    relays: &Relays,
    node: &Node,
    ask: ImageWanted,
    progress: Option<&mpsc::Sender<ApplyProgress>>,
) -> Result<Resolved, Status> {
    let image = ask.image.clone();
    let mut relay = relays.open(&node.id, &node.name, Want::Image(ask)).await?;
    loop {
        let message = timeout(STALLED, relay.next()).await.map_err(|_| {
            Status::deadline_exceeded(format!("its pull made no progress for {} s", STALLED.as_secs()))
        })??;
        match message {
            Some(FromAgent::Pull(step)) => {
                if let Some(progress) = progress {
                    let step = ApplyProgress {
                        image: image.clone(),
                        status: step.status,
                        current: step.current,
                        total: step.total,
                    };
                    // A slow reader misses steps rather than holding the pull.
                    let _ = progress.try_send(step);
                }
            }
            Some(FromAgent::Image(found)) => {
                return Ok(Resolved {
                    digest: Some(found.digest),
                    has_healthcheck: found.has_healthcheck,
                    platform: (!found.platform.is_empty()).then_some(found.platform),
                });
            }
            Some(_) => return Err(Status::internal("the agent answered with something else")),
            None => return Err(Status::unavailable(format!("node {} hung up", node.name))),
        }
    }
}
