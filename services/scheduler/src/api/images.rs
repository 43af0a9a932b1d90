//! Finds out what the images of a stack stand for, by asking a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use gantry_api::cluster::v1::ApplyProgress;
use gantry_api::node::v1::open_relay::Want;
use gantry_api::node::v1::relay_request::Message as FromAgent;
use gantry_api::node::v1::{ImageFound, ImageWanted};
use gantry_boot::now;
use gantry_model::{Node, NodeId, PullPolicy, Snapshot, StackSpec, Timestamp, registry_of};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::admit::Resolved;
use crate::credentials::Credentials;
use crate::session::Relays;
use crate::state::State;

/// A pull that makes no progress for this long has failed.
const STALLED: Duration = Duration::from_mins(2);
/// A scheduler that has just started gives its nodes this long to connect.
const SESSIONS_BACK: Duration = Duration::from_secs(10);
/// Nodes that are asked at a time.
const AT_A_TIME: usize = 32;

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
    state: &State,
    relays: &Relays,
    credentials: &Credentials,
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
    let nodes = await_ready_nodes(state, now()).await?;
    let mut resolved = BTreeMap::new();
    for (image, platform, always_pull, never_pull) in wanted {
        let credential = credentials.of_image(&image);
        let ask = ImageWanted {
            image: image.clone(),
            always_pull,
            never_pull,
            platform,
            timeout: None,
            credential,
        };
        let found = match resolve_one(relays, &nodes, ask, progress).await {
            Ok((node, found)) => {
                has_image(state, &node, &found.digest);
                Resolved {
                    digest: Some(found.digest),
                    has_healthcheck: found.has_healthcheck,
                    platform: (!found.platform.is_empty()).then_some(found.platform),
                }
            }
            Err(status) if status.code() == Code::NotFound && reach == Reach::Look => Resolved::default(),
            Err(status) => {
                let hint = login_hint(&image, status.message());
                return Err(Status::new(status.code(), format!("image {image}: {}{hint}", status.message())));
            }
        };
        resolved.insert(image, found);
    }
    Ok(resolved)
}

/// What to do where a registry wants to know who asks, as far as its words tell.
fn login_hint(image: &str, said: &str) -> String {
    let words = ["no basic auth credentials", "unauthorized", "authentication required", "access denied"];
    if words.iter().any(|words| said.to_lowercase().contains(words)) {
        format!("; `docker login {}` where you deploy from, then deploy again", registry_of(image))
    } else {
        String::new()
    }
}

/// What an image stands for, and a node that has it. One that is on a node already is taken from there:
/// it may have been built, and be nowhere else.
async fn resolve_one(
    relays: &Relays,
    nodes: &[Arc<Node>],
    ask: ImageWanted,
    progress: Option<&mpsc::Sender<ApplyProgress>>,
) -> Result<(NodeId, ImageFound), Status> {
    let look = ImageWanted { never_pull: true, always_pull: false, credential: None, ..ask.clone() };
    let mut newest: Option<(NodeId, ImageFound)> = None;
    let mut failed = Status::not_found("it is on no node, and may not be pulled");
    if !ask.always_pull {
        let looking = nodes.iter().cloned().map(|node| {
            let (relays, look) = (relays.clone(), look.clone());
            async move {
                let answer = ask_node(&relays, &node, look, None).await;
                (node, answer)
            }
        });
        let mut looking = std::pin::pin!(futures_util::stream::iter(looking).buffered(AT_A_TIME));
        while let Some((node, answer)) = looking.next().await {
            match answer {
                Ok(found) if newest.as_ref().is_none_or(|(_, known)| time_of(&found) > time_of(known)) => {
                    newest = Some((node.id.clone(), found));
                }
                Ok(_) => {}
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => failed = status,
            }
        }
    }
    match (newest, nodes.first()) {
        (Some(newest), _) => Ok(newest),
        (None, Some(node)) if !ask.never_pull => {
            ask_node(relays, node, ask, progress).await.map(|found| (node.id.clone(), found))
        }
        (None, _) => Err(failed),
    }
}

fn time_of(found: &ImageFound) -> (i64, i32) {
    found.created_at.map_or((i64::MIN, 0), |time| (time.seconds, time.nanos))
}

/// The node has it: the others may be sent there before the node's own report comes.
fn has_image(state: &State, node: &NodeId, digest: &str) {
    state.observe(|snapshot| {
        let Some(status) = snapshot.node_statuses.get(node) else { return false };
        if status.images.contains(digest) {
            return false;
        }
        let mut status = status.as_ref().clone();
        status.images.insert(digest.to_owned());
        snapshot.node_statuses.insert_mut(node.clone(), Arc::new(status));
        true
    });
}

/// The nodes that can be asked. After the scheduler's own start there are none for a moment, which is no
/// reason to refuse anything.
async fn await_ready_nodes(state: &State, now: Timestamp) -> Result<Vec<Arc<Node>>, Status> {
    let mut snapshots = state.subscribe();
    let started = state.snapshot().started_at;
    let patience = SESSIONS_BACK.saturating_sub(now.since(started));
    let all_are_back = |snapshot: &Arc<Snapshot>| {
        ready_nodes(snapshot).is_ok_and(|ready| ready.len() == snapshot.nodes.size())
    };
    // An image may be on any one of them. Those that are not back in time are done without.
    let _ = timeout(patience, snapshots.wait_for(all_are_back)).await;
    ready_nodes(&state.snapshot())
}

fn ready_nodes(snapshot: &Snapshot) -> Result<Vec<Arc<Node>>, Status> {
    let (mut ready, mut reasons) = (Vec::new(), Vec::new());
    for node in snapshot.nodes.values() {
        match snapshot.node_statuses.get(&node.id).map(|status| status.problem()) {
            Some(None) => ready.push(node.clone()),
            Some(Some(problem)) => reasons.push(format!("{}: {problem}", node.name)),
            None => reasons
                .push(format!("{}: its agent has not connected since the scheduler started", node.name)),
        }
    }
    if !ready.is_empty() {
        return Ok(ready);
    }
    Err(Status::unavailable(if reasons.is_empty() {
        "no node has joined yet: is an agent running?".to_owned()
    } else {
        format!("no node is ready ({})", reasons.join("; "))
    }))
}

async fn ask_node(
    relays: &Relays,
    node: &Node,
    ask: ImageWanted,
    progress: Option<&mpsc::Sender<ApplyProgress>>,
) -> Result<ImageFound, Status> {
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
                return Ok(found);
            }
            Some(_) => return Err(Status::internal("the agent answered with something else")),
            None => return Err(Status::unavailable(format!("node {} hung up", node.name))),
        }
    }
}
