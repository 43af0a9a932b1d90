//! The stream of tables from the scheduler, and of acknowledgements to it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1::routing_service_client::RoutingServiceClient;
use gantry_api::node::v1::stream_tables_request::Message as ToScheduler;
use gantry_api::node::v1::{
    ProxyHello, StillServing, StreamTablesRequest, Table as WireTable, TableAck, Wanted,
};
use gantry_boot::{Backoff, Members, chain};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::balance::Registry;
use crate::dns::Names;
use crate::engine::Engine;
use crate::http;
use crate::table::Table;
use crate::{saved, spec};

const QUEUE: usize = 16;
const MAX_TABLE: usize = 64 << 20;
/// Services in one message at most; others are named when these are awake.
const MAX_WANTED: usize = 1_000;
const AGAIN: Duration = Duration::from_millis(20);
/// How often it is tried again to use what could not be used.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked who is still in flight.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Puts tables to use.
pub struct Control {
    /// The node's id.
    pub node: String,
    /// Random, one a run.
    pub instance: String,
    /// The cluster's id.
    pub cluster: String,
    /// Where the last table is kept.
    pub folder: PathBuf,
    /// The way to the scheduler.
    pub channel: Channel,
    /// What is known of the other members.
    pub members: Members,
    /// Where tables go.
    pub tables: watch::Sender<Arc<Table>>,
    /// What answers names.
    pub names: Names,
    /// What serves traffic.
    pub engine: Arc<Mutex<Engine>>,
    /// What could not be used of the last table.
    pub problems: watch::Sender<Vec<String>>,
    /// Why there is no stream; `None` while there is one.
    pub connected: watch::Sender<Option<String>>,
}

impl Control {
    /// Serves by the table that was saved last, if there is one.
    pub async fn restore(&self) {
        match saved::load(&self.folder) {
            Ok(Some(table)) if table.cluster_id == self.cluster => {
                self.apply(&table).await;
                tracing::info!(
                    zones = table.zones.len(),
                    "serving by the saved table until the scheduler answers"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read the saved table; waiting for the scheduler's"),
        }
    }

    /// Answers names as soon as the proxy that ran before does not any more.
    pub async fn listen_again(&self, patience: Duration) {
        let until = tokio::time::Instant::now() + patience;
        let table = self.tables.borrow().clone();
        while !self.names.listen(&table).await.is_empty() && tokio::time::Instant::now() < until {
            sleep(AGAIN).await;
        }
    }

    /// Follows the scheduler's tables until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        let (save, to_save) = watch::channel(None::<WireTable>);
        let saving = saved::keep_saved(&self.folder, to_save);
        let following = async {
            let mut last = String::new();
            loop {
                let why = match self.follow(&save, &mut backoff).await {
                    Ok(()) => "the scheduler hung up".to_owned(),
                    Err(status) => describe(&status),
                };
                if why != last {
                    tracing::info!(why, "no tables from the scheduler; connecting again");
                }
                self.connected.send_replace(Some(why.clone()));
                last = why;
                sleep(backoff.pause()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = saving => {}
            () = following => {}
        }
    }

    async fn follow(
        &self,
        save: &watch::Sender<Option<WireTable>>,
        backoff: &mut Backoff,
    ) -> Result<(), Status> {
        let (outgoing, stream) = mpsc::channel(QUEUE);
        let hello = ProxyHello { node_id: self.node.clone(), instance: self.instance.clone() };
        send(&outgoing, ToScheduler::Hello(hello)).await?;
        let mut client = RoutingServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_TABLE);
        let mut incoming = client.stream_tables(ReceiverStream::new(stream)).await?.into_inner();
        let mut looking = interval(LOOK_EVERY);
        looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let registry = self.engine.lock().await.registry.clone();
        let mut told: Vec<String> = Vec::new();
        let mut last: Option<WireTable> = None;
        let mut asleep = BTreeSet::new();
        let mut retrying = interval(RETRY_EVERY);
        retrying.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let response = tokio::select! {
                response = incoming.message() => response?,
                // A port that another program had may be free by now.
                _ = retrying.tick() => {
                    let before = self.problems.borrow().clone();
                    if let Some(table) = last.as_ref().filter(|_| !before.is_empty()) {
                        let problems = self.apply(table).await;
                        if problems != before {
                            let ack = TableAck { version: table.version, problems };
                            send(&outgoing, ToScheduler::Ack(ack)).await?;
                        }
                    }
                    continue;
                }
                () = registry.waiting_began() => {
                    say_wanted(&outgoing, &registry, &asleep).await?;
                    continue;
                }
                _ = looking.tick() => {
                    // A message may be lost with its stream, and a wait may have begun before the table.
                    say_wanted(&outgoing, &registry, &asleep).await?;
                    let serving = registry.still_serving();
                    if serving != told {
                        told.clone_from(&serving);
                        let version = self.tables.borrow().version;
                        let message = StillServing { replica_ids: serving, version: Some(version) };
                        send(&outgoing, ToScheduler::StillServing(message)).await?;
                    }
                    continue;
                }
            };
            let Some(response) = response else { return Ok(()) };
            backoff.reset();
            self.connected.send_if_modified(|why| {
                if why.is_some() {
                    tracing::info!("the scheduler sends tables");
                }
                why.take().is_some()
            });
            if let Some(membership) = response.membership
                && let Err(error) = self.members.learn(membership).await
            {
                tracing::warn!(%error, "cannot keep what was said of the other members");
            }
            let Some(table) = response.table else { continue };
            if table.cluster_id != self.cluster {
                return Err(Status::failed_precondition(format!(
                    "the scheduler is of cluster {}",
                    table.cluster_id
                )));
            }
            let problems = self.apply(&table).await;
            let version = table.version;
            asleep = sleeping(&table);
            last = Some(table.clone());
            save.send_replace(Some(table));
            // Who has left with requests in flight is said before the acknowledgement, so that nobody
            // is stopped between the two.
            told = registry.still_serving();
            let message = StillServing { replica_ids: told.clone(), version };
            send(&outgoing, ToScheduler::StillServing(message)).await?;
            send(&outgoing, ToScheduler::Ack(TableAck { version, problems })).await?;
        }
    }

    /// Serves by `table` from now on. What of it cannot be used is answered, and the rest is.
    async fn apply(&self, table: &WireTable) -> Vec<String> {
        if !table.cookie_secret.is_empty() {
            http::set_key(table.cookie_secret.as_bytes());
        }
        let read = Table::read(table, &self.tables.borrow()).map(Arc::new);
        let read = read.and_then(|next| Ok((next, spec::read(table)?)));
        let (next, spec) = match read {
            Ok(read) => read,
            Err(problem) => {
                return vec![format!("the table cannot be read: {problem}; the one before stays")];
            }
        };
        self.tables.send_replace(next.clone());
        let mut problems = self.engine.lock().await.apply(spec, next.members()).await;
        problems.extend(self.names.listen(&next).await);
        self.problems.send_if_modified(|known| {
            for new in problems.iter().filter(|problem| !known.contains(problem)) {
                tracing::warn!(problem = new, "cannot use part of the table");
            }
            let changed = *known != problems;
            known.clone_from(&problems);
            changed
        });
        problems
    }
}

/// The services that are scaled to zero.
fn sleeping(table: &WireTable) -> BTreeSet<String> {
    let asleep = table.backends.iter().filter(|backend| backend.asleep);
    asleep.map(|backend| backend.service.clone()).collect()
}

/// Says for which of the services that sleep somebody waits here, if that is so.
async fn say_wanted(
    outgoing: &mpsc::Sender<StreamTablesRequest>,
    registry: &Registry,
    asleep: &BTreeSet<String>,
) -> Result<(), Status> {
    let mut services = registry.waited_for(asleep);
    services.truncate(MAX_WANTED);
    if services.is_empty() {
        return Ok(());
    }
    send(outgoing, ToScheduler::Wanted(Wanted { services })).await
}

async fn send(outgoing: &mpsc::Sender<StreamTablesRequest>, message: ToScheduler) -> Result<(), Status> {
    let request = StreamTablesRequest { message: Some(message) };
    outgoing.send(request).await.map_err(|_| Status::unavailable("the scheduler hung up"))
}

fn describe(status: &Status) -> String {
    use std::error::Error as _;
    match status.source() {
        Some(source) => format!("{}: {}", status.message(), chain(source)),
        None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Instant;

    use gantry_api::node::v1::Backend as WireBackend;

    use super::*;
    use crate::balance::{Backend, Waiting};
    use crate::spec::{Policy, Target};

    #[tokio::test]
    async fn services_that_sleep_are_named_while_somebody_waits_for_them() {
        let backend = |service: &str, asleep| WireBackend {
            service: service.to_owned(),
            asleep,
            ..WireBackend::default()
        };
        let table = WireTable {
            backends: vec![backend("shop/web", true), backend("shop/idle", true), backend("shop/db", false)],
            ..WireTable::default()
        };
        let asleep = sleeping(&table);
        let registry = Registry::new(1);
        let (outgoing, mut said) = mpsc::channel(4);
        say_wanted(&outgoing, &registry, &asleep).await.unwrap();
        assert!(said.try_recv().is_err(), "nobody waits");
        let wait = |name: &str| {
            let target = Target { backend: name.to_owned(), port: Some(80) };
            let state = registry.backend(name, target.port);
            let now = Instant::now();
            let backend = Rc::new(Backend::new(target, Policy::default(), None, Vec::new(), state, now));
            Waiting::begin(&backend, now).unwrap()
        };
        let waiting = [wait("shop/web"), wait("shop/web"), wait("shop/db")];
        say_wanted(&outgoing, &registry, &asleep).await.unwrap();
        let message = said.try_recv().unwrap().message;
        assert_eq!(message, Some(ToScheduler::Wanted(Wanted { services: vec!["shop/web".into()] })));
        drop(waiting);
        say_wanted(&outgoing, &registry, &asleep).await.unwrap();
        assert!(said.try_recv().is_err());
    }
}
