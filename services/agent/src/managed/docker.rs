//! The Docker Engine as a [`Runtime`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gantry_api::agent::v1::{ExecStart, FilterValues, RegistryCredential, Volume};
use gantry_model::{ClusterId, End, Hook, Mount, ReplicaId, RestartPolicy, Timestamp};
use prost_types::Timestamp as WireTime;
use tokio::time::Instant;

use super::assignment::{Assignment, Segment, VolumeUse};
use super::runtime::{Changed, Changes, Runtime, What};
use crate::engine::{
    Archive, CLUSTER_LABEL, Engine, Error, Flow, Kind, NetworkWanted, Observed, REPLICA_LABEL,
};
use crate::transfer::ImageNeeded;

/// What a container's change can be that matters to its supervisor.
const ACTIONS: [&str; 10] =
    ["create", "start", "die", "destroy", "pause", "unpause", "oom", "restart", "rename", "health_status"];

/// Of what a process of a check wrote this much is kept.
const LAST_OUTPUT: usize = 4 << 10;

/// The exit code of what was killed.
const KILLED: i32 = 137;

/// The label with the move that a volume was made for.
const MOVE_LABEL: &str = "gantry.move";

/// The engine, as far as one cluster's containers go.
#[derive(Clone)]
pub struct DockerRuntime {
    engine: Engine,
    cluster: ClusterId,
}

impl DockerRuntime {
    /// The containers of `cluster` on `engine`.
    pub fn new(engine: Engine, cluster: ClusterId) -> Self {
        Self { engine, cluster }
    }

    async fn find_volume(&self, name: &str) -> Result<Option<Volume>, Error> {
        match self.engine.volume(name).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of_cluster(&self) -> BTreeMap<String, FilterValues> {
        let label = format!("{CLUSTER_LABEL}={}", self.cluster);
        BTreeMap::from([("label".to_owned(), FilterValues { values: vec![label] })])
    }
}

impl Runtime for DockerRuntime {
    async fn ping(&self) -> Result<(), Error> {
        self.engine.ping().await
    }

    async fn list(&self) -> Result<Vec<Observed>, Error> {
        let mut all = Vec::new();
        for container in self.engine.list(true, &self.of_cluster()).await? {
            all.extend(self.engine.observe(&container.id).await?);
        }
        Ok(all)
    }

    async fn observe(&self, id: &str) -> Result<Option<Observed>, Error> {
        self.engine.observe(id).await
    }

    fn changes(&self, since: Option<WireTime>) -> Changes {
        let mut filters = self.of_cluster();
        filters.insert("type".to_owned(), FilterValues { values: vec!["container".to_owned()] });
        let values = ACTIONS.iter().map(|action| (*action).to_owned()).collect();
        filters.insert("event".to_owned(), FilterValues { values });
        Box::pin(self.engine.events(since, None, &filters).filter_map(async |event| match event {
            Ok(event) => {
                let replica = ReplicaId::new(event.attributes.get(REPLICA_LABEL)?).ok()?;
                let exit_code = event.attributes.get("exitCode").and_then(|code| code.parse().ok());
                let what = match event.action.as_str() {
                    "start" => What::Started,
                    "die" => What::Ended { exit_code: exit_code.unwrap_or(-1) },
                    "oom" => What::OutOfMemory,
                    "destroy" => What::Gone,
                    _ => What::Other,
                };
                Some(Ok(Changed { time: event.time, id: event.id, replica, what }))
            }
            Err(error) => Some(Err(error)),
        }))
    }

    async fn create(&self, wanted: &Assignment, image: &str, mounts: Vec<Mount>) -> Result<String, Error> {
        let mut container = wanted.container.clone();
        // The engine would start it without asking whether it may run: this agent does.
        if wanted.exclusive {
            container.restart = Some(RestartPolicy::No);
        }
        container.mounts.extend(mounts);
        // The mounted resolv.conf says it all; the engine need not know.
        if !wanted.networks.is_empty() {
            container.dns.clear();
            container.dns_search.clear();
            container.dns_options.clear();
        }
        let created =
            self.engine.create(&wanted.name, &container, image, &wanted.networks, &wanted.ports).await?;
        for warning in created.warnings {
            tracing::warn!(replica = %wanted.replica, warning, "the engine warns");
        }
        Ok(created.id)
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        self.engine.start(id).await
    }

    async fn stop(&self, id: &str, grace: Option<Duration>) -> Result<bool, Error> {
        let began = Instant::now();
        self.engine.stop(id, None, grace).await?;
        if grace.is_none_or(|grace| grace.is_zero() || began.elapsed() < grace) {
            return Ok(false);
        }
        let seen = self.engine.observe(id).await?;
        Ok(seen.is_some_and(|seen| seen.exit_code == KILLED))
    }

    async fn run_hook(&self, id: &str, hook: &Hook) -> Result<(i32, String), Error> {
        self.engine.run_hook(id, hook).await
    }

    async fn last_lines(
        &self,
        id: &str,
        since: Option<Timestamp>,
        until: Timestamp,
    ) -> Result<String, Error> {
        self.engine.last_lines(id, since, until, End::LINES).await
    }

    async fn unpause(&self, id: &str) -> Result<(), Error> {
        self.engine.unpause(id).await
    }

    async fn check_inside(&self, id: &str, command: &[String]) -> Result<(i32, String), Error> {
        let start = ExecStart { command: command.to_owned(), ..ExecStart::default() };
        let mut process = self.engine.exec(id, &start).await?;
        let mut wrote = Vec::new();
        while let Some(piece) = process.output.next().await {
            wrote.extend_from_slice(&piece?.data);
            let too_much = wrote.len().saturating_sub(LAST_OUTPUT);
            wrote.drain(..too_much);
        }
        let code = self.engine.exec_exit_code(&process.id).await?;
        Ok((code, String::from_utf8_lossy(&wrote).into_owned()))
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        match self.engine.remove(id, true, true).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            // Somebody else is at it; the destroy event tells when it is done.
            Err(error) if error.message.contains("is already in progress") => Ok(()),
            other => other,
        }
    }

    async fn find_image(&self, image: &str, digest: &str) -> Result<Option<String>, Error> {
        if let Some(found) = self.engine.find_image(image).await?
            && (digest.is_empty() || found.id == digest)
        {
            return Ok(Some(image.to_owned()));
        }
        // The name may stand for something else by now; what was deployed is kept under a name of its own.
        let kept = crate::images::kept_name(digest);
        let found = if digest.is_empty() { None } else { self.engine.find_image(&kept).await? };
        Ok(found.map(|_| kept))
    }

    async fn keep_image(&self, image: &str, digest: &str) -> Result<(), Error> {
        self.engine.tag(image, &crate::images::kept_name(digest)).await
    }

    async fn kept_images(&self) -> Result<BTreeSet<String>, Error> {
        let filter = FilterValues { values: vec![crate::images::KEPT.to_owned()] };
        let images = self.engine.images(false, &BTreeMap::from([("reference".to_owned(), filter)])).await?;
        let names = images.iter().flat_map(|image| &image.tags);
        Ok(names.filter_map(|name| crate::images::kept_digest(name)).collect())
    }

    async fn pull(
        &self,
        needed: ImageNeeded<'_>,
        credential: Option<&RegistryCredential>,
    ) -> Result<(), Error> {
        crate::images::pull(&self.engine, needed.image, needed.platform, credential, |_| ()).await
    }

    async fn export_image(&self, digest: &str) -> Result<(u64, Flow<Bytes>), Error> {
        let kept = crate::images::kept_name(digest);
        let found = self.engine.inspect_image(&kept).await?;
        let about = found.image.map(|image| image.size).unwrap_or_default();
        Ok((about, self.engine.export(&[kept])))
    }

    async fn import_image(&self, digest: &str, archive: Archive) -> Result<(), Error> {
        self.engine.import(archive).await?;
        let kept = crate::images::kept_name(digest);
        match self.engine.find_image(&kept).await? {
            Some(found) if found.id == digest => Ok(()),
            Some(found) => {
                self.engine.remove_image(&kept, false).await?;
                Err(Error::new(Kind::State, format!("what came is another image: {}", found.id)))
            }
            None => Err(Error::new(Kind::State, "what came is another image".to_owned())),
        }
    }

    async fn ensure_segment(&self, segment: &Segment) -> Result<(), Error> {
        if let Some(found) = self.engine.find_network(&segment.name).await? {
            if found.labels.get(CLUSTER_LABEL).map(String::as_str) != Some(self.cluster.as_str()) {
                return Err(Error::new(
                    Kind::State,
                    format!(
                        "this host has a network {} that is not Gantry's: remove it, or give the stack another name",
                        segment.name
                    ),
                ));
            }
            if found.subnet == segment.subnet && found.gateway == segment.gateway {
                return Ok(());
            }
            self.engine.remove_network(&segment.name).await?;
        }
        let options = BTreeMap::from([
            ("com.docker.network.bridge.name".to_owned(), segment.bridge.clone()),
            ("com.docker.network.driver.mtu".to_owned(), segment.mtu.to_string()),
        ]);
        let wanted = NetworkWanted {
            name: segment.name.clone(),
            driver: "bridge".to_owned(),
            subnet: segment.subnet.clone(),
            gateway: segment.gateway.clone(),
            ip_range: segment.ip_range.clone(),
            // The firewall keeps what is inside inside: the engine would take the way to names and to service
            // addresses too.
            internal: false,
            options,
            labels: segment.labels.clone(),
        };
        self.engine.create_network(&wanted).await.map(drop)
    }

    async fn segments(&self) -> Result<Vec<String>, Error> {
        let networks = self.engine.networks(&self.of_cluster()).await?;
        Ok(networks.into_iter().map(|network| network.name).collect())
    }

    async fn remove_segment(&self, name: &str) -> Result<(), Error> {
        match self.engine.remove_network(name).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn ensure_volume(&self, volume: &VolumeUse) -> Result<(), Error> {
        if volume.external {
            return match self.engine.volume(&volume.name).await {
                Err(error) if error.kind == Kind::NotFound => Err(Error::new(
                    Kind::NotFound,
                    format!(
                        "the external volume {} does not exist: make it with `docker volume create {}`",
                        volume.name, volume.name
                    ),
                )),
                other => other.map(drop),
            };
        }
        self.engine
            .create_volume(&volume.name, &volume.driver, &volume.options, &volume.labels)
            .await
            .map(drop)
    }

    async fn begin_volume(&self, volume: &VolumeUse, move_id: &str) -> Result<(), Error> {
        if let Some(found) = self.find_volume(&volume.name).await? {
            return Err(Error::new(
                Kind::AlreadyExists,
                format!(
                    "there is a volume {} already that this move did not make (made {}): remove it there, if it is not needed, with `docker volume rm {}`",
                    volume.name,
                    found.created_at.map(|time| time.to_string()).unwrap_or_default(),
                    volume.name
                ),
            ));
        }
        let mut labels = volume.labels.clone();
        labels.insert(MOVE_LABEL.to_owned(), move_id.to_owned());
        self.engine.create_volume(&volume.name, &volume.driver, &volume.options, &labels).await.map(drop)
    }

    async fn clear_volume(&self, name: &str, move_id: &str) -> Result<(), Error> {
        match self.find_volume(name).await? {
            Some(found) if found.labels.get(MOVE_LABEL).map(String::as_str) == Some(move_id) => {
                self.remove_volume(name).await
            }
            _ => Ok(()),
        }
    }

    async fn export_volume(&self, name: &str) -> Result<Flow<Bytes>, Error> {
        self.engine.read_volume(name).await
    }

    async fn import_volume(&self, name: &str, archive: Archive) -> Result<(), Error> {
        self.engine.write_volume(name, archive).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        match self.engine.remove_volume(name, false).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other,
        }
    }
}
