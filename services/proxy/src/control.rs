//! The stream of tables from the scheduler, and of acknowledgements to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1::routing_service_client::RoutingServiceClient;
use gantry_api::node::v1::stream_tables_request::Message as ToScheduler;
use gantry_api::node::v1::{ProxyHello, StreamTablesRequest, Table as WireTable, TableAck};
use gantry_boot::{Backoff, chain};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::dns::Names;
use crate::saved;
use crate::table::Table;

const QUEUE: usize = 16;
const MAX_TABLE: usize = 64 << 20;
/// A table is saved at most this often: it is only needed after a restart, and the newest counts.
const SAVE_EVERY: Duration = Duration::from_millis(500);

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
    /// Where tables go.
    pub tables: watch::Sender<Arc<Table>>,
    /// What answers names.
    pub names: Names,
    /// Why there is no stream; `None` while there is one.
    pub connected: watch::Sender<Option<String>>,
}

impl Control {
    /// Serves by the table that was saved last, if there is one.
    pub async fn restore(&self) {
        match saved::load(&self.folder) {
            Ok(Some(table)) if table.cluster_id == self.cluster => {
                for problem in self.apply(&table).await {
                    tracing::warn!(problem, "cannot use part of the saved table");
                }
                tracing::info!(
                    zones = table.zones.len(),
                    "serving by the saved table until the scheduler answers"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read the saved table; waiting for the scheduler's"),
        }
    }

    /// Follows the scheduler's tables until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        let (save, mut to_save) = watch::channel(None::<WireTable>);
        let saving = async {
            while to_save.changed().await.is_ok() {
                let table = to_save.borrow_and_update().clone();
                if let Some(table) = table
                    && let Err(error) = saved::save(&self.folder, &table)
                {
                    tracing::warn!(%error, "cannot save the table; after a restart an older one is used");
                }
                sleep(SAVE_EVERY).await;
            }
        };
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
        while let Some(response) = incoming.message().await? {
            backoff.reset();
            self.connected.send_if_modified(|why| {
                if why.is_some() {
                    tracing::info!("the scheduler sends tables");
                }
                why.take().is_some()
            });
            let Some(table) = response.table else { continue };
            if table.cluster_id != self.cluster {
                return Err(Status::failed_precondition(format!(
                    "the scheduler is of cluster {}",
                    table.cluster_id
                )));
            }
            let problems = self.apply(&table).await;
            let version = table.version;
            save.send_replace(Some(table));
            send(&outgoing, ToScheduler::Ack(TableAck { version, problems })).await?;
        }
        Ok(())
    }

    /// Serves by `table` from now on. What of it cannot be used is answered, and the rest is.
    async fn apply(&self, table: &WireTable) -> Vec<String> {
        let next = match Table::read(table, &self.tables.borrow()) {
            Ok(next) => Arc::new(next),
            Err(problem) => {
                return vec![format!("the table cannot be read: {problem}; the one before stays")];
            }
        };
        self.tables.send_replace(next.clone());
        self.names.listen(&next).await
    }
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
