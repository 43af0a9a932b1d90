use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::Stack;
use gantry_api::feed::v1::feed_service_server::FeedService;
use gantry_api::feed::v1::object::Object as Content;
use gantry_api::feed::v1::watch_response::Message;
use gantry_api::feed::v1::{Delta, Key, Kind, Object, State, WatchRequest, WatchResponse};
use gantry_model::wire::View;
use gantry_model::{Map, NodeId, ReplicaId, ServiceId, Snapshot, StackName};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// At most one message in this time.
const GATHER: Duration = Duration::from_millis(20);
/// Messages that wait for a slow reader; further changes are combined.
const QUEUE: usize = 2;

/// Serves the state to other services.
pub struct Feed {
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Feed {
    /// Serves what `snapshots` hands out.
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self { snapshots }
    }
}

#[tonic::async_trait]
impl FeedService for Feed {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut snapshots = self.snapshots.clone();
        let (answers, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut sent: Option<Arc<Snapshot>> = None;
            loop {
                let now = snapshots.borrow_and_update().clone();
                let message = match &sent {
                    None => Some(Message::State(whole(&now))),
                    Some(before) => delta(before, &now).map(Message::Delta),
                };
                if let Some(message) = message {
                    let response = WatchResponse { message: Some(message), revision: now.revision };
                    if answers.send(Ok(response)).await.is_err() {
                        return;
                    }
                    sleep(GATHER).await;
                }
                sent = Some(now);
                tokio::select! {
                    changed = snapshots.changed() => if changed.is_err() { return },
                    () = answers.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn whole(snapshot: &Snapshot) -> State {
    let objects = snapshot.stacks.keys().map(|name| (Kind::Stack, name.to_string()));
    let objects = objects.chain(snapshot.services.keys().map(|id| (Kind::Service, id.to_string())));
    let objects = objects.chain(snapshot.replicas.keys().map(|id| (Kind::Replica, id.to_string())));
    let objects = objects.chain(snapshot.nodes.keys().map(|id| (Kind::Node, id.to_string())));
    State { objects: objects.filter_map(|(kind, id)| object(snapshot, kind, id)).collect() }
}

/// What changed; `None` if nothing did.
fn delta(before: &Snapshot, now: &Snapshot) -> Option<Delta> {
    let mut touched: BTreeSet<(Kind, String)> = BTreeSet::new();
    let mut services: BTreeSet<ServiceId> = BTreeSet::new();
    for name in changed(&before.stacks, &now.stacks) {
        touched.insert((Kind::Stack, name.to_string()));
    }
    for id in changed(&before.services, &now.services) {
        services.insert(id);
    }
    let replicas =
        changed(&before.replicas, &now.replicas).into_iter().chain(changed(&before.statuses, &now.statuses));
    for id in replicas {
        // A replica's change shows in its service's counts too.
        services.extend(
            [before, now].iter().filter_map(|all| all.replicas.get(&id)).map(|one| one.service.clone()),
        );
        touched.insert((Kind::Replica, id.to_string()));
    }
    touched.extend(services.iter().map(|id| (Kind::Service, id.to_string())));
    let nodes = changed(&before.nodes, &now.nodes)
        .into_iter()
        .chain(changed(&before.node_statuses, &now.node_statuses));
    touched.extend(nodes.map(|id| (Kind::Node, id.to_string())));
    if touched.is_empty() {
        return None;
    }
    let mut delta = Delta::default();
    for (kind, id) in touched {
        match object(now, kind, id.clone()) {
            Some(object) => delta.upserts.push(object),
            None => delta.removals.push(Key { kind: kind.into(), id }),
        }
    }
    Some(delta)
}

/// The keys whose value is not the very same. Records and statuses are behind `Arc`s that only a change
/// replaces, so values need not be compared.
fn changed<K: Ord + Clone, V>(before: &Map<K, Arc<V>>, now: &Map<K, Arc<V>>) -> Vec<K> {
    let new =
        now.iter().filter(|(key, value)| before.get(*key).is_none_or(|known| !Arc::ptr_eq(known, value)));
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    new.map(|(key, _)| key).chain(gone).cloned().collect()
}

fn object(snapshot: &Snapshot, kind: Kind, id: String) -> Option<Object> {
    let view = View(snapshot);
    let content = match kind {
        Kind::Stack => {
            let stack = snapshot.stacks.get(&id.parse::<StackName>().ok()?)?;
            Content::Stack(Stack { services: Vec::new(), ..view.stack(stack) })
        }
        Kind::Service => {
            let mut service = view.service(snapshot.services.get(&id.parse::<ServiceId>().ok()?)?);
            // Nobody who reads the feed runs containers, so nobody needs their environment.
            if let Some(container) = service.spec.as_mut().and_then(|spec| spec.container.as_mut()) {
                container.environment.clear();
            }
            Content::Service(service)
        }
        Kind::Replica => {
            Content::Replica(view.replica(snapshot.replicas.get(&id.parse::<ReplicaId>().ok()?)?))
        }
        Kind::Node => Content::Node(view.node(snapshot.nodes.get(&id.parse::<NodeId>().ok()?)?)),
        Kind::Unspecified => return None,
    };
    Some(Object { key: Some(Key { kind: kind.into(), id }), object: Some(content) })
}

#[cfg(test)]
mod tests {
    use gantry_model::{Phase, Timestamp};
    use gantry_testkit::World;

    use super::*;
    use crate::mirror::Mirror;

    fn take(mirror: &mut Mirror, message: Message) {
        mirror.take(WatchResponse { message: Some(message), revision: 1 });
    }

    #[test]
    fn a_mirror_that_takes_every_delta_equals_a_fresh_one() {
        let mut world =
            World::new(Timestamp::from_millis(1)).node("n1").service("s/web", |service| service.replicas(2));
        let mut mirror = Mirror::default();
        take(&mut mirror, Message::State(whole(&world.snapshot)));
        let steps: [&dyn Fn(&mut World); 4] = [
            &|world| world.change_service("s/web", |service| service.replicas = 3),
            &|world| world.disconnect("n1"),
            &|world| world.remove_stack("s", false),
            &|world| *world = world.clone().service("t/db", |service| service),
        ];
        for step in steps {
            let before = world.snapshot.clone();
            step(&mut world);
            take(&mut mirror, Message::Delta(delta(&before, &world.snapshot).unwrap()));
            let mut fresh = Mirror::default();
            take(&mut fresh, Message::State(whole(&world.snapshot)));
            assert_eq!(mirror, fresh);
        }
    }

    #[test]
    fn a_replicas_status_shows_in_its_service_too() {
        let mut world = World::new(Timestamp::from_millis(1)).node("n1").service("s/web", |service| service);
        let replica = gantry_model::Replica {
            id: gantry_model::ReplicaId::new("r1").unwrap(),
            service: "s/web".parse().unwrap(),
            slot: 1,
            revision: 1,
            goal: gantry_model::Goal::Run,
            node: world.snapshot.nodes.keys().next().cloned(),
            addresses: Default::default(),
            restart_sequence: 0,
            pending: None,
            drain: None,
            pause: None,
            leave: false,
            outcome: None,
            created_at: world.now,
        };
        world.commit(&[gantry_model::Change::Put(gantry_model::Record::Replica(Arc::new(replica.clone())))]);
        let before = world.snapshot.clone();
        world.see(&replica.id, |status| status.phase = Phase::Running);
        let delta = delta(&before, &world.snapshot).unwrap();
        let kinds: Vec<_> = delta.upserts.iter().map(|object| object.key.as_ref().unwrap().kind()).collect();
        assert_eq!(kinds, [Kind::Service, Kind::Replica]);
    }

    #[test]
    fn the_feed_carries_no_environment() {
        let world = World::new(Timestamp::from_millis(1)).service("s/web", |service| {
            service.container(|container| {
                drop(container.environment.insert("PASSWORD".into(), "hunter2".into()));
            })
        });
        let mut mirror = Mirror::default();
        take(&mut mirror, Message::State(whole(&world.snapshot)));
        let container = mirror.services["s/web"].spec.as_ref().unwrap().container.as_ref().unwrap();
        assert!(container.environment.is_empty());
    }
}
