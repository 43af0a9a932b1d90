//! The state as a stream. Watchdogs also read how replicas, nodes and services are, which nobody else needs.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::Stack;
use gantry_api::feed::v1::feed_service_server::FeedService;
use gantry_api::feed::v1::object::Object as Content;
use gantry_api::feed::v1::watch_response::Message;
use gantry_api::feed::v1::{Course, Delta, Key, Kind, Object, State, WatchRequest, WatchResponse};
use gantry_boot::{is_watchdog, now as clock};
use gantry_model::wire::{View, write_case, write_course, write_hearing, write_time};
use gantry_model::{Map, NodeId, ReplicaId, ServiceId, Snapshot, StackName};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::certificates::certificates;

/// At most one message in this time.
const GATHER: Duration = Duration::from_millis(20);
/// Messages that wait for a slow reader; further changes are combined.
const QUEUE: usize = 2;
/// Readers hear what time it is at least that often.
const TIME: Duration = Duration::from_secs(1);

/// Replicas of which proxies have told failures of late: how many requests failed, of how many.
pub type Failures = BTreeMap<ReplicaId, (u64, u64)>;

/// Serves the state to other services.
pub struct Feed {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    failures: Arc<dyn Fn() -> Failures + Send + Sync>,
}

impl Feed {
    /// Serves what `snapshots` hands out.
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self { snapshots, failures: Arc::new(Failures::new) }
    }

    /// Tells watchdogs also what `failures` counts.
    #[must_use]
    pub fn with_failures(mut self, failures: impl Fn() -> Failures + Send + Sync + 'static) -> Self {
        self.failures = Arc::new(failures);
        self
    }
}

#[tonic::async_trait]
impl FeedService for Feed {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let is_watchdog = is_watchdog(&request);
        let (mut snapshots, failures) = (self.snapshots.clone(), self.failures.clone());
        let (answers, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut sent: Option<Moment> = None;
            let mut time = interval_at(Instant::now() + TIME, TIME);
            let mut is_due = true;
            time.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let now = Moment {
                    snapshot: snapshots.borrow_and_update().clone(),
                    failures: if is_watchdog { failures() } else { Failures::new() },
                    is_watchdog,
                };
                let message = match &sent {
                    None => Message::State(whole(&now)),
                    Some(before) => Message::Delta(delta(before, &now)),
                };
                let revision = now.snapshot.revision;
                let is_news = !matches!(&message, Message::Delta(delta) if *delta == Delta::default());
                // An empty one says what time it is.
                if is_news || is_due {
                    let now = Some(write_time(clock()));
                    let response = WatchResponse { message: Some(message), revision, now };
                    if answers.send(Ok(response)).await.is_err() {
                        return;
                    }
                    sleep(GATHER).await;
                }
                sent = Some(now);
                is_due = tokio::select! {
                    changed = snapshots.changed() => match changed {
                        Ok(()) => false,
                        Err(_) => return,
                    },
                    _ = time.tick() => true,
                    () = answers.closed() => return,
                };
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// What a reader is told of at one time.
struct Moment {
    snapshot: Arc<Snapshot>,
    failures: Failures,
    is_watchdog: bool,
}

fn whole(now: &Moment) -> State {
    let snapshot = &now.snapshot;
    let mut keys: Vec<(Kind, String)> =
        snapshot.stacks.keys().map(|name| (Kind::Stack, name.to_string())).collect();
    keys.extend(snapshot.services.keys().map(|id| (Kind::Service, id.to_string())));
    keys.extend(snapshot.replicas.keys().map(|id| (Kind::Replica, id.to_string())));
    keys.extend(snapshot.nodes.keys().map(|id| (Kind::Node, id.to_string())));
    if now.is_watchdog {
        keys.extend(snapshot.replicas.keys().map(|id| (Kind::Case, id.to_string())));
        keys.extend(snapshot.nodes.keys().map(|id| (Kind::Hearing, id.to_string())));
        keys.extend(snapshot.services.keys().map(|id| (Kind::Course, id.to_string())));
    }
    State { objects: keys.into_iter().filter_map(|(kind, id)| object(now, kind, id)).collect() }
}

/// What changed.
fn delta(before: &Moment, now: &Moment) -> Delta {
    let (old, new) = (&before.snapshot, &now.snapshot);
    let mut delta = Delta::default();
    let mut touched: BTreeSet<(Kind, String)> = BTreeSet::new();
    let mut services: BTreeSet<ServiceId> = BTreeSet::new();
    let mut replicas: BTreeSet<ReplicaId> = BTreeSet::new();
    for name in changed(&old.stacks, &new.stacks) {
        touched.insert((Kind::Stack, name.to_string()));
    }
    services.extend(changed(&old.services, &new.services));
    replicas.extend(changed(&old.replicas, &new.replicas));
    replicas.extend(changed(&old.statuses, &new.statuses));
    for id in &replicas {
        // A replica's change shows in its service's counts too.
        services
            .extend([old, new].iter().filter_map(|all| all.replicas.get(id)).map(|one| one.service.clone()));
        touched.insert((Kind::Replica, id.to_string()));
    }
    touched.extend(services.iter().map(|id| (Kind::Service, id.to_string())));
    let mut nodes: BTreeSet<NodeId> = changed(&old.nodes, &new.nodes).into_iter().collect();
    nodes.extend(changed(&old.node_statuses, &new.node_statuses));
    touched.extend(nodes.iter().map(|id| (Kind::Node, id.to_string())));
    for (kind, id) in touched {
        put(&mut delta, kind, id.clone(), object(now, kind, id));
    }
    if now.is_watchdog {
        replicas.extend(changed(&old.stamps, &new.stamps));
        replicas.extend(nodes.iter().flat_map(|node| new.replicas_on(node)).map(|one| one.id.clone()));
        replicas.extend(before.failures.keys().chain(now.failures.keys()).cloned());
        let cases = replicas.iter().map(|id| (Kind::Case, id.to_string()));
        let hearings = nodes.iter().map(|id| (Kind::Hearing, id.to_string()));
        let courses = services.iter().map(|id| (Kind::Course, id.to_string()));
        for (kind, id) in cases.chain(hearings).chain(courses) {
            let latest = object(now, kind, id.clone());
            // Much of what changes does not show in these.
            if latest != object(before, kind, id.clone()) {
                put(&mut delta, kind, id, latest);
            }
        }
    }
    delta
}

fn put(delta: &mut Delta, kind: Kind, id: String, object: Option<Object>) {
    match object {
        Some(object) => delta.upserts.push(object),
        None => delta.removals.push(Key { kind: kind.into(), id }),
    }
}

/// The keys whose value is not the very same. Records and statuses are behind `Arc`s that only a change
/// replaces, so values need not be compared.
fn changed<K: Ord + Clone, V>(before: &Map<K, Arc<V>>, now: &Map<K, Arc<V>>) -> Vec<K> {
    let new =
        now.iter().filter(|(key, value)| before.get(*key).is_none_or(|known| !Arc::ptr_eq(known, value)));
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    new.map(|(key, _)| key).chain(gone).cloned().collect()
}

fn object(now: &Moment, kind: Kind, id: String) -> Option<Object> {
    let snapshot: &Snapshot = &now.snapshot;
    let view = View(snapshot);
    let content = match kind {
        Kind::Stack => {
            let stack = snapshot.stacks.get(&id.parse::<StackName>().ok()?)?;
            Content::Stack(Stack { services: Vec::new(), ..view.stack(stack) })
        }
        Kind::Service => {
            Content::Service(view.service(snapshot.services.get(&id.parse::<ServiceId>().ok()?)?))
        }
        Kind::Replica => {
            Content::Replica(view.replica(snapshot.replicas.get(&id.parse::<ReplicaId>().ok()?)?))
        }
        Kind::Node => Content::Node(view.node(snapshot.nodes.get(&id.parse::<NodeId>().ok()?)?)),
        Kind::Case => {
            let replica = snapshot.replicas.get(&id.parse::<ReplicaId>().ok()?)?;
            let failures = now.failures.get(&replica.id).copied().unwrap_or_default();
            Content::Case(write_case(snapshot, replica, failures))
        }
        Kind::Hearing => {
            Content::Hearing(write_hearing(snapshot, snapshot.nodes.get(&id.parse::<NodeId>().ok()?)?))
        }
        Kind::Course => {
            let service = snapshot.services.get(&id.parse::<ServiceId>().ok()?)?;
            Content::Course(Course { certificates: certificates(service), ..write_course(snapshot, service) })
        }
        Kind::Unspecified => return None,
    };
    Some(Object { key: Some(Key { kind: kind.into(), id }), object: Some(content) })
}
