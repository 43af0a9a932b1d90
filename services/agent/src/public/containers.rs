//! `gantry.agent.v1.ContainerService`.

use futures_util::StreamExt as _;
use gantry_api::Invalid;
use gantry_api::agent::v1::container_service_server::ContainerService;
#[allow(clippy::wildcard_imports)] // Every message of the package, which this file is about.
use gantry_api::agent::v1::*;
use gantry_boot::caller;
use gantry_model::wire;
use prost_types::Duration as WireDuration;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

use super::guard::{refuse_managed, refuse_powers};
use super::{Answers, process, upload};
use crate::engine::{Attachment, Engine, LogsWanted};

type Answer<T> = Result<Response<T>, Status>;

/// Serves the host's containers.
pub struct Containers {
    engine: Engine,
}

impl Containers {
    /// Serves the containers of `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

fn grace(timeout: Option<WireDuration>) -> Result<Option<Duration>, Status> {
    timeout
        .map(|timeout| Duration::try_from(timeout).map_err(|_| Invalid::new("timeout", "is negative").into()))
        .transpose()
}

fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[tonic::async_trait]
impl ContainerService for Containers {
    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Answer<CreateContainerResponse> {
        let caller = caller(&request)?.clone();
        let CreateContainerRequest { name, spec } = request.into_inner();
        let mut spec = spec.ok_or_else(|| Invalid::missing("spec"))?;
        let networks: Vec<Attachment> = std::mem::take(&mut spec.networks)
            .into_iter()
            .map(|network| Attachment {
                network: network.network,
                aliases: network.aliases,
                ipv4_address: text(network.ipv4_address),
                mac_address: text(network.mac_address),
            })
            .collect();
        let ports = wire::read_ports(&spec.ports)?;
        let container = wire::read_container(spec)?;
        if !container.post_start.is_empty() || !container.pre_stop.is_empty() {
            return Err(Invalid::new("post_start and pre_stop", "are run for services only").into());
        }
        refuse_powers(&caller, &container)?;
        if container.labels.keys().any(|label| label.starts_with("gantry.")) {
            return Err(
                Invalid::new("labels", "may not begin with \"gantry.\": those are Gantry's own").into()
            );
        }
        let created = self.engine.create(&name, &container, &container.image, &networks, &ports).await?;
        Ok(Response::new(CreateContainerResponse { id: created.id, warnings: created.warnings }))
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Answer<StartContainerResponse> {
        let id = request.into_inner().id;
        refuse_managed(&self.engine, &id, "start").await?;
        self.engine.start(&id).await?;
        Ok(Response::new(StartContainerResponse {}))
    }

    async fn stop_container(&self, request: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        let StopContainerRequest { id, timeout, signal } = request.into_inner();
        refuse_managed(&self.engine, &id, "stop").await?;
        self.engine.stop(&id, text(signal).as_deref(), grace(timeout)?).await?;
        Ok(Response::new(StopContainerResponse {}))
    }

    async fn restart_container(
        &self,
        request: Request<RestartContainerRequest>,
    ) -> Answer<RestartContainerResponse> {
        let RestartContainerRequest { id, timeout } = request.into_inner();
        refuse_managed(&self.engine, &id, "restart").await?;
        self.engine.restart(&id, grace(timeout)?).await?;
        Ok(Response::new(RestartContainerResponse {}))
    }

    async fn kill_container(&self, request: Request<KillContainerRequest>) -> Answer<KillContainerResponse> {
        let KillContainerRequest { id, signal } = request.into_inner();
        refuse_managed(&self.engine, &id, "kill").await?;
        self.engine.kill(&id, &signal).await?;
        Ok(Response::new(KillContainerResponse {}))
    }

    async fn pause_container(
        &self,
        request: Request<PauseContainerRequest>,
    ) -> Answer<PauseContainerResponse> {
        let id = request.into_inner().id;
        refuse_managed(&self.engine, &id, "pause").await?;
        self.engine.pause(&id).await?;
        Ok(Response::new(PauseContainerResponse {}))
    }

    async fn unpause_container(
        &self,
        request: Request<UnpauseContainerRequest>,
    ) -> Answer<UnpauseContainerResponse> {
        let id = request.into_inner().id;
        refuse_managed(&self.engine, &id, "unpause").await?;
        self.engine.unpause(&id).await?;
        Ok(Response::new(UnpauseContainerResponse {}))
    }

    async fn rename_container(
        &self,
        request: Request<RenameContainerRequest>,
    ) -> Answer<RenameContainerResponse> {
        let RenameContainerRequest { id, name } = request.into_inner();
        refuse_managed(&self.engine, &id, "rename").await?;
        self.engine.rename(&id, &name).await?;
        Ok(Response::new(RenameContainerResponse {}))
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Answer<RemoveContainerResponse> {
        let RemoveContainerRequest { id, force, volumes } = request.into_inner();
        refuse_managed(&self.engine, &id, "remove").await?;
        self.engine.remove(&id, force, volumes).await?;
        Ok(Response::new(RemoveContainerResponse {}))
    }

    async fn inspect_container(
        &self,
        request: Request<InspectContainerRequest>,
    ) -> Answer<InspectContainerResponse> {
        Ok(Response::new(self.engine.inspect(&request.into_inner().id).await?))
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Answer<ListContainersResponse> {
        let ListContainersRequest { all, filters } = request.into_inner();
        let containers = self.engine.list(all, &filters).await?;
        Ok(Response::new(ListContainersResponse { containers }))
    }

    async fn wait_container(&self, request: Request<WaitContainerRequest>) -> Answer<WaitContainerResponse> {
        let exit_code = self.engine.wait(&request.into_inner().id).await?;
        Ok(Response::new(WaitContainerResponse { exit_code }))
    }

    async fn top_container(&self, request: Request<TopContainerRequest>) -> Answer<TopContainerResponse> {
        let TopContainerRequest { id, ps_args } = request.into_inner();
        Ok(Response::new(self.engine.top(&id, &ps_args).await?))
    }

    type StreamLogsStream = Answers<StreamLogsResponse>;

    async fn stream_logs(&self, request: Request<StreamLogsRequest>) -> Answer<Self::StreamLogsStream> {
        let StreamLogsRequest { id, follow, since, until, tail, timestamps } = request.into_inner();
        // The engine answers an unknown container only in the stream; say it at once.
        self.engine.inspect(&id).await?;
        let wanted = LogsWanted { follow, since, until, tail, timestamps };
        let stream = self.engine.logs(&id, &wanted).map(|piece| Ok(process::log_piece(&piece?)));
        Ok(Response::new(Box::pin(stream)))
    }

    type ExecStream = Answers<ExecResponse>;

    async fn exec(&self, request: Request<Streaming<ExecRequest>>) -> Answer<Self::ExecStream> {
        Ok(Response::new(process::exec(&self.engine, request.into_inner()).await?))
    }

    type AttachStream = Answers<AttachResponse>;

    async fn attach(&self, request: Request<Streaming<AttachRequest>>) -> Answer<Self::AttachStream> {
        Ok(Response::new(process::attach(&self.engine, request.into_inner()).await?))
    }

    type StreamStatsStream = Answers<StreamStatsResponse>;

    async fn stream_stats(&self, request: Request<StreamStatsRequest>) -> Answer<Self::StreamStatsStream> {
        let StreamStatsRequest { id, once } = request.into_inner();
        self.engine.inspect(&id).await?;
        let stream = self.engine.stats(&id, once).map(|sample| Ok(sample?));
        Ok(Response::new(Box::pin(stream)))
    }

    type StreamEventsStream = Answers<StreamEventsResponse>;

    async fn stream_events(&self, request: Request<StreamEventsRequest>) -> Answer<Self::StreamEventsStream> {
        let StreamEventsRequest { since, until, filters } = request.into_inner();
        let stream = self.engine.events(since, until, &filters).map(|event| {
            let event = event?;
            Ok(StreamEventsResponse {
                time: Some(event.time),
                r#type: event.kind,
                action: event.action,
                id: event.id,
                attributes: event.attributes,
            })
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn copy_in(&self, request: Request<Streaming<CopyInRequest>>) -> Answer<CopyInResponse> {
        use copy_in_request::Message;
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|first| first.message);
        let Some(Message::Start(CopyInStart { id, path })) = first else {
            return Err(Status::invalid_argument("the first message must say where to unpack"));
        };
        let archive = upload::bytes(incoming, |message| match message.message {
            Some(Message::Chunk(chunk)) => Some(chunk),
            _ => None,
        });
        self.engine.copy_in(&id, &path, archive).await?;
        Ok(Response::new(CopyInResponse {}))
    }

    type CopyOutStream = Answers<CopyOutResponse>;

    async fn copy_out(&self, request: Request<CopyOutRequest>) -> Answer<Self::CopyOutStream> {
        let CopyOutRequest { id, path } = request.into_inner();
        let stream =
            self.engine.copy_out(&id, &path).map(|chunk| Ok(CopyOutResponse { chunk: chunk?.to_vec() }));
        Ok(Response::new(Box::pin(stream)))
    }
}
