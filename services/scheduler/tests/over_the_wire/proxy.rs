//! A proxy without requests of its own.

use gantry_api::node::v1::routing_service_client::RoutingServiceClient;
use gantry_api::node::v1::{
    ProxyHello, StillServing, StreamTablesRequest, StreamTablesResponse, Table, TableAck, Wanted,
    stream_tables_request,
};
use gantry_identity::Role;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::support::{PATIENCE, Scheduler};

/// A proxy that takes every table, and says of requests in flight what it is told to say.
pub struct Proxy {
    messages: mpsc::Sender<StreamTablesRequest>,
    tables: Streaming<StreamTablesResponse>,
}

impl Proxy {
    pub async fn connect(scheduler: &Scheduler) -> Self {
        let (messages, stream) = mpsc::channel(16);
        let hello = ProxyHello { node_id: "n1".into(), instance: "p1".into() };
        let message = Some(stream_tables_request::Message::Hello(hello));
        messages.send(StreamTablesRequest { message }).await.unwrap();
        let mut client = RoutingServiceClient::new(scheduler.channel(Role::Proxy, "n1"));
        let tables = client.stream_tables(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { messages, tables }
    }

    async fn say(&self, message: stream_tables_request::Message) {
        self.messages.send(StreamTablesRequest { message: Some(message) }).await.unwrap();
    }

    /// Takes tables until one is as wanted, and acknowledges every one before it.
    pub async fn table(&mut self, wanted: impl Fn(&Table) -> bool) -> Table {
        let wait = async {
            loop {
                let Some(table) = self.tables.message().await.unwrap().unwrap().table else { continue };
                if wanted(&table) {
                    return table;
                }
                self.ack(&table).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap()
    }

    pub async fn ack(&self, table: &Table) {
        let ack = TableAck { version: table.version, problems: Vec::new() };
        self.say(stream_tables_request::Message::Ack(ack)).await;
    }

    /// Requests wait for this service.
    pub async fn wants(&self, service: &str) {
        let wanted = Wanted { services: vec![service.to_owned()] };
        self.say(stream_tables_request::Message::Wanted(wanted)).await;
    }

    pub async fn still_serving(&self, table: &Table, replica_ids: Vec<String>) {
        let still = StillServing { replica_ids, version: table.version };
        self.say(stream_tables_request::Message::StillServing(still)).await;
    }
}
