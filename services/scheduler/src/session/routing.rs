//! The connection of each proxy: tables down, acknowledgements and traffic up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1::routing_service_server::RoutingService;
use gantry_api::node::v1::stream_tables_request::Message as FromProxy;
use gantry_api::node::v1::{
    ReportTrafficRequest, ReportTrafficResponse, StillServing, StreamTablesRequest, StreamTablesResponse,
    Table,
};
use gantry_boot::{caller, now};
use gantry_model::{
    Change, Key, NodeId, Proxy, Record, ReplicaId, Severity, Snapshot, TableVersion, Timestamp, wire,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::hearing::Hearing;
use super::news_of_members;
use crate::autoscale::Autoscaler;
use crate::decide::{record_event, table};
use crate::membership::Office;
use crate::state::State;
use crate::traffic::Traffic;

const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// At most one table in this time.
const GATHER: Duration = Duration::from_millis(10);
/// After a start, agents may take this long to say what runs; until then no proxy is told that
/// nothing does.
const SETTLE: Duration = Duration::from_secs(6);
const QUEUE: usize = 4;
/// Services that one message about those that somebody waits for may name.
const MAX_WANTED: usize = 1_000;

/// Serves proxies.
pub struct Routing {
    state: State,
    traffic: Traffic,
    autoscaler: Autoscaler,
    office: Office,
    hearing: Hearing,
}

impl Routing {
    /// Serves proxies from `state`, and keeps in `traffic` what they have seen. `autoscaler` is told of services
    /// that somebody waits for, `hearing` of every sign of life.
    pub fn new(
        state: State,
        traffic: Traffic,
        autoscaler: Autoscaler,
        office: Office,
        hearing: Hearing,
    ) -> Self {
        Self { state, traffic, autoscaler, office, hearing }
    }
}

#[tonic::async_trait]
impl RoutingService for Routing {
    type StreamTablesStream = ReceiverStream<Result<StreamTablesResponse, Status>>;

    async fn stream_tables(
        &self,
        request: Request<Streaming<StreamTablesRequest>>,
    ) -> Result<Response<Self::StreamTablesStream>, Status> {
        let identity = caller(&request)?.name.clone();
        let mut incoming = request.into_inner();
        let first = timeout(HELLO_WITHIN, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the hello did not come"))??;
        let Some(FromProxy::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        if hello.node_id != identity {
            return Err(Status::permission_denied(format!(
                "the certificate is of node {identity}, the hello of node {}",
                hello.node_id
            )));
        }
        let node = NodeId::new(&hello.node_id).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        register(&self.state, &node, &hello.instance).await?;
        tracing::info!(%node, instance = hello.instance, "proxy connected");

        let (outgoing, stream) = mpsc::channel(QUEUE);
        let (state, office, hearing) = (self.state.clone(), self.office.clone(), self.hearing.clone());
        let autoscaler = self.autoscaler.clone();
        hearing.proxy(&node);
        tokio::spawn(async move {
            tokio::select! {
                () = listen(&state, &autoscaler, &hearing, &node, &hello.instance, &mut incoming) => {}
                () = talk(&state, &office, &node, &outgoing) => {}
            }
            state.observe(|snapshot| {
                snapshot.serving.remove_mut(&hello.instance);
                snapshot.proxy_problems.remove_mut(&hello.instance);
                snapshot.acks.remove_mut(&hello.instance)
            });
            tracing::info!(%node, instance = hello.instance, "proxy disconnected");
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn report_traffic(
        &self,
        request: Request<Streaming<ReportTrafficRequest>>,
    ) -> Result<Response<ReportTrafficResponse>, Status> {
        let node = caller(&request)?.name.clone();
        super::traffic::listen(&self.state, &self.traffic, &self.hearing, &node, request.into_inner()).await
    }
}

/// Puts the proxy on record. Instances of the same node that are not connected any more go: their
/// successor serves instead of them.
async fn register(state: &State, node: &NodeId, instance: &str) -> Result<(), Status> {
    state
        .commit::<_, gantry_store::Error>(|snapshot| {
            let gone = snapshot
                .proxies
                .values()
                .filter(|proxy| proxy.node == *node && proxy.instance != instance)
                .filter(|proxy| !snapshot.acks.contains_key(&proxy.instance));
            let mut changes: Vec<_> =
                gone.map(|proxy| Change::Delete(Key::Proxy(proxy.instance.clone()))).collect();
            if !snapshot.proxies.contains_key(instance) {
                let proxy = Proxy { instance: instance.to_owned(), node: node.clone(), since: now() };
                changes.push(Change::Put(Record::Proxy(Arc::new(proxy))));
            }
            Ok((changes, ()))
        })
        .await
        .map_err(crate::api::store_failed)?;
    acknowledge(state, instance, TableVersion::default());
    Ok(())
}

fn acknowledge(state: &State, instance: &str, version: TableVersion) {
    state.observe(|snapshot| {
        let new = snapshot.acks.get(instance) != Some(&version);
        if new {
            snapshot.acks.insert_mut(instance.to_owned(), version);
        }
        new
    });
}

async fn listen(
    state: &State,
    autoscaler: &Autoscaler,
    hearing: &Hearing,
    node: &NodeId,
    instance: &str,
    incoming: &mut Streaming<StreamTablesRequest>,
) {
    while let Ok(Some(message)) = incoming.message().await {
        hearing.proxy(node);
        match message.message {
            Some(FromProxy::Ack(ack)) => {
                acknowledge(state, instance, wire::read_table_version(ack.version));
                note_problems(state, node, instance, ack.problems).await;
            }
            Some(FromProxy::StillServing(still)) => note_serving(state, instance, &still),
            Some(FromProxy::Wanted(wanted)) => {
                let named = wanted.services.iter().take(MAX_WANTED);
                autoscaler.wanted(named.filter_map(|name| name.parse().ok()));
            }
            Some(FromProxy::Hello(_)) | None => {}
        }
    }
}

/// Keeps what a proxy cannot do, for people who look, and leaves an event of what is new.
async fn note_problems(state: &State, node: &NodeId, instance: &str, problems: Vec<String>) {
    let known = state.snapshot().proxy_problems.get(instance).cloned().unwrap_or_default();
    if *known == problems {
        return;
    }
    let new: Vec<String> = problems.iter().filter(|line| !known.contains(line)).cloned().collect();
    state.observe(|snapshot| {
        snapshot.proxy_problems.insert_mut(instance.to_owned(), Arc::new(problems));
        true
    });
    let stored = state
        .commit::<_, gantry_store::Error>(|snapshot| {
            let name = snapshot.nodes.get(node).map_or(node.as_str(), |node| node.name.as_str());
            let (subject, mut working) = (format!("node:{name}"), snapshot.clone());
            let mut changes = Vec::new();
            for line in new {
                tracing::warn!(%node, problem = line, "a proxy cannot use part of its table");
                let message = format!("its proxy: {line}");
                let event =
                    record_event(&working, now(), Severity::Warning, &subject, None, "ProxyProblem", message);
                for change in &event {
                    working.apply(change);
                }
                changes.extend(event);
            }
            Ok((changes, ()))
        })
        .await;
    if let Err(error) = stored {
        tracing::error!(error = gantry_boot::chain(&error), "cannot store what a proxy cannot do");
    }
}

fn note_serving(state: &State, instance: &str, still: &StillServing) {
    let replicas: BTreeSet<ReplicaId> =
        still.replica_ids.iter().filter_map(|id| ReplicaId::new(id).ok()).collect();
    state.observe(|snapshot| {
        let new = snapshot.serving.get(instance).map_or(!replicas.is_empty(), |known| **known != replicas);
        if new {
            snapshot.serving.insert_mut(instance.to_owned(), Arc::new(replicas));
        }
        new
    });
}

async fn talk(
    state: &State,
    office: &Office,
    node: &NodeId,
    outgoing: &mpsc::Sender<Result<StreamTablesResponse, Status>>,
) {
    let mut changes = state.subscribe();
    let mut sent: Option<Table> = None;
    let mut members = None;
    loop {
        let snapshot = changes.borrow_and_update().clone();
        if let Some(news) = news_of_members(office, &snapshot, &mut members) {
            let message = StreamTablesResponse { table: None, membership: Some(news) };
            if outgoing.send(Ok(message)).await.is_err() {
                return;
            }
        }
        if may_tell(&snapshot, now()) {
            let next = table(&snapshot, node);
            if sent.as_ref().is_none_or(|sent| differs(sent, &next)) {
                sent = Some(next.clone());
                if outgoing
                    .send(Ok(StreamTablesResponse { table: Some(next), membership: None }))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            sleep(GATHER).await;
            if changes.changed().await.is_err() {
                return;
            }
        } else {
            // Either somebody reports, or the time is over.
            let _ = timeout(Duration::from_millis(200), changes.changed()).await;
        }
    }
}

/// Whether `next` says anything that matters: other content, or a newer stored change, which
/// somebody may wait to see acknowledged. Mere changes of status elsewhere do not matter.
fn differs(sent: &Table, next: &Table) -> bool {
    let revision = |table: &Table| table.version.map(|version| version.revision);
    let same_content = |sent: &Table, next: &Table| {
        sent.zones == next.zones
            && sent.askers == next.askers
            && sent.backends == next.backends
            && sent.listeners == next.listeners
            && sent.routes == next.routes
            && sent.addresses == next.addresses
            && sent.certificates == next.certificates
    };
    revision(sent) != revision(next) || !same_content(sent, next)
}

fn may_tell(snapshot: &Snapshot, now: Timestamp) -> bool {
    let all_reported = snapshot
        .nodes
        .keys()
        .all(|node| snapshot.node_statuses.get(node).is_some_and(|status| status.reported));
    all_reported || now.since(snapshot.started_at) >= SETTLE
}

#[cfg(test)]
mod tests {
    use gantry_testkit::World;

    use super::*;

    #[tokio::test]
    async fn what_a_proxy_cannot_do_is_said_once_and_forgotten_with_the_trouble() {
        let world = World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |service| service);
        let mut snapshot = world.snapshot;
        snapshot.revision = 0;
        let state = State::new(Box::new(gantry_store::Memory::default()), snapshot);
        let (node, taken) = (NodeId::new("n1").unwrap(), vec!["shop/web: port 80 is taken".to_owned()]);
        for _ in 0..2 {
            note_problems(&state, &node, "p1", taken.clone()).await;
        }
        let snapshot = state.snapshot();
        let events: Vec<_> = snapshot.events.values().map(|event| event.message.clone()).collect();
        assert_eq!(events, ["its proxy: shop/web: port 80 is taken"]);
        assert_eq!(*snapshot.proxy_problems["p1"], taken);
        note_problems(&state, &node, "p1", Vec::new()).await;
        assert!(state.snapshot().proxy_problems["p1"].is_empty());
    }

    #[test]
    fn who_is_still_served_is_what_was_said_last() {
        let world = World::new(Timestamp::from_millis(1));
        let state = State::new(Box::new(gantry_store::Memory::default()), world.snapshot);
        let say = |ids: &[&str]| {
            let replica_ids = ids.iter().map(|id| (*id).to_owned()).collect();
            note_serving(&state, "p1", &StillServing { replica_ids, version: None });
            state.snapshot().serving.get("p1").map_or(0, |replicas| replicas.len())
        };
        assert_eq!((say(&["a", "b"]), say(&["b"]), say(&[])), (2, 1, 0));
    }

    #[test]
    fn a_scheduler_that_has_just_started_tells_no_proxy_that_nothing_runs() {
        let start = Timestamp::from_millis(50_000);
        let mut world = World::new(start).node("n1").node("n2");
        world.snapshot.started_at = start;
        assert!(may_tell(&world.snapshot, start));
        world.disconnect("n2");
        assert!(!may_tell(&world.snapshot, start.after(Duration::from_secs(5))));
        assert!(
            may_tell(&world.snapshot, start.after(SETTLE)),
            "a node that is really lost holds nobody for ever"
        );
    }
}
