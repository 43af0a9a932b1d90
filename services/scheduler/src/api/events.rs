//! `gantry.cluster.v1.EventService`.

use gantry_api::cluster::v1::event_service_server::EventService;
use gantry_api::cluster::v1::{
    ListEventsRequest, ListEventsResponse, WatchEventsRequest, WatchEventsResponse,
};
use gantry_model::wire::View;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::state::State;

const DEFAULT_LIMIT: usize = 100;
const QUEUE: usize = 64;

/// Serves events.
pub struct Events {
    state: State,
}

impl Events {
    /// Serves the events of `state`.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let ListEventsRequest { subject, limit } = request.into_inner();
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit as usize };
        let snapshot = self.state.snapshot();
        let matching = snapshot.events.values().rev().filter(|event| event.is_about(&subject));
        let mut events: Vec<_> = matching.take(limit).map(|event| View(&snapshot).event(event)).collect();
        events.reverse();
        Ok(Response::new(ListEventsResponse { events }))
    }

    type WatchEventsStream = ReceiverStream<Result<WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let WatchEventsRequest { subject, after } = request.into_inner();
        let mut changes = self.state.subscribe();
        let newest = self.state.snapshot().next_event() - 1;
        let mut last = if after == 0 { newest } else { after };
        let (answers, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            loop {
                let snapshot = changes.borrow_and_update().clone();
                let newer: Vec<_> =
                    snapshot.events.range(last + 1..).map(|(_, event)| event.clone()).collect();
                for event in newer {
                    last = event.sequence;
                    if event.is_about(&subject) {
                        let event = Some(View(&snapshot).event(&event));
                        if answers.send(Ok(WatchEventsResponse { event })).await.is_err() {
                            return;
                        }
                    }
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = answers.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
