//! The simulated engine as supervisors see it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gantry_api::agent::v1::{ContainerState as State, RegistryCredential};
use gantry_model::{Health, Hook, Mount, Timestamp};
use prost_types::Timestamp as WireTime;
use tokio::time::sleep;
use tokio_stream::wrappers::BroadcastStream;

use super::{Simulated, digest_of};
use crate::engine::{Archive, Error, Flow, Kind, Observed};
use crate::managed::assignment::{Assignment, Segment, VolumeUse};
use crate::managed::runtime::{Changes, Runtime, What};
use crate::transfer::ImageNeeded;

impl Runtime for Simulated {
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>, Error> {
        Ok(self.lock().containers.values().map(|(_, seen)| seen.clone()).collect())
    }

    async fn observe(&self, id: &str) -> Result<Option<Observed>, Error> {
        let engine = self.lock();
        let found = engine.containers.iter().find(|(known, (name, _))| *known == id || name == id);
        Ok(found.map(|(_, (_, seen))| seen.clone()))
    }

    fn changes(&self, _: Option<WireTime>) -> Changes {
        let stream = BroadcastStream::new(self.lock().changes.subscribe());
        Box::pin(stream.map(|next| next.map_err(|error| Error::new(Kind::Unavailable, error.to_string()))))
    }

    async fn create(&self, wanted: &Assignment, _: &str, _: Vec<Mount>) -> Result<String, Error> {
        self.lock().call(|engine| {
            if engine.containers.values().any(|(name, _)| *name == wanted.name) {
                return Err(Error::new(Kind::AlreadyExists, "the name is already in use by container"));
            }
            engine.made += 1;
            let id = format!("c{}", engine.made);
            let seen = Observed {
                id: id.clone(),
                replica: wanted.replica.clone(),
                image_id: wanted.image_digest.clone(),
                state: State::Created,
                exit_code: 0,
                oom_killed: false,
                error: String::new(),
                restart_count: 0,
                health: Health::None,
                started_at: None,
                finished_at: None,
                ports: Vec::new(),
            };
            engine.containers.insert(id.clone(), (wanted.name.clone(), seen));
            engine.tell(&id, &wanted.replica, What::Other);
            Ok(id)
        })
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        self.lock().call(|engine| {
            engine.done.push("start".to_owned());
            engine.set(id, State::Running)
        })
    }

    async fn stop(&self, id: &str, grace: Option<Duration>) -> Result<bool, Error> {
        let stubborn = {
            let mut engine = self.lock();
            let replica = engine.container(id)?.replica.clone();
            engine.stubborn.contains(&replica)
        };
        if stubborn {
            sleep(grace.unwrap_or_default()).await;
        }
        self.lock().call(|engine| {
            engine.done.push("stop".to_owned());
            engine.end(id, if stubborn { 137 } else { 143 })?;
            Ok(stubborn)
        })
    }

    async fn run_hook(&self, _: &str, hook: &Hook) -> Result<(i32, String), Error> {
        let ends = {
            let mut engine = self.lock();
            engine.done.push(hook.command.join(" "));
            engine.hooks.get(&hook.command[0]).copied().unwrap_or(Some(0))
        };
        match ends {
            Some(code) => Ok((code, "the last words\n".to_owned())),
            None => std::future::pending().await,
        }
    }

    async fn last_lines(&self, id: &str, _: Option<Timestamp>, until: Timestamp) -> Result<String, Error> {
        Ok(format!("{id} wrote this until {until}"))
    }

    async fn unpause(&self, id: &str) -> Result<(), Error> {
        self.lock().call(|engine| engine.set(id, State::Running))
    }

    async fn check_inside(&self, _: &str, command: &[String]) -> Result<(i32, String), Error> {
        let ended = {
            let mut engine = self.lock();
            engine.processes.push(command.to_owned());
            engine.process_ends.clone()
        };
        match ended {
            Some(ended) => Ok(ended),
            None => std::future::pending().await,
        }
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        self.lock().call(|engine| {
            let replica = engine.container(id)?.replica.clone();
            engine.containers.remove(id);
            engine.removed.push(replica.clone());
            engine.tell(id, &replica, What::Gone);
            Ok(())
        })
    }

    async fn find_image(&self, image: &str, digest: &str) -> Result<Option<String>, Error> {
        self.lock().call(|engine| {
            // An image that was not resolved is always there.
            let there = digest.is_empty() || engine.images.contains_key(digest);
            Ok(there.then(|| image.to_owned()))
        })
    }

    async fn keep_image(&self, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn kept_images(&self) -> Result<BTreeSet<String>, Error> {
        Ok(self.lock().images.keys().cloned().collect())
    }

    async fn pull(
        &self,
        needed: ImageNeeded<'_>,
        credential: Option<&RegistryCredential>,
    ) -> Result<(), Error> {
        let takes = self.lock().pull_takes;
        sleep(takes).await;
        let mut engine = self.lock();
        engine.logins.extend(credential.cloned());
        engine.pulls += 1;
        match engine.registry.get(needed.digest).cloned() {
            Some(content) => {
                engine.images.insert(needed.digest.to_owned(), content);
                Ok(())
            }
            None => Err(Error::new(Kind::NotFound, format!("no such image: {}", needed.image))),
        }
    }

    async fn export_image(&self, digest: &str) -> Result<(u64, Flow<Bytes>), Error> {
        let found = self.lock().images.get(digest).cloned();
        let content = found.ok_or_else(|| Error::new(Kind::NotFound, format!("No such image: {digest}")))?;
        let chunks: Vec<_> =
            content.chunks(32 << 10).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Ok((content.len() as u64, Box::pin(futures_util::stream::iter(chunks))))
    }

    async fn import_image(&self, digest: &str, mut archive: Archive) -> Result<(), Error> {
        let mut content = Vec::new();
        while let Some(chunk) = archive.next().await {
            let chunk = chunk.map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
            content.extend_from_slice(&chunk);
        }
        let mut engine = self.lock();
        if content.len() > engine.room {
            return Err(Error::new(Kind::Exhausted, "write /var: no space left on device"));
        }
        if digest_of(&content) != digest {
            return Err(Error::new(Kind::State, "what came is another image"));
        }
        engine.images.insert(digest.to_owned(), content);
        engine.imports += 1;
        Ok(())
    }

    async fn ensure_segment(&self, segment: &Segment) -> Result<(), Error> {
        self.lock().call(|engine| {
            engine.segments.insert(segment.name.clone());
            Ok(())
        })
    }

    async fn segments(&self) -> Result<Vec<String>, Error> {
        Ok(self.lock().segments.iter().cloned().collect())
    }

    async fn remove_segment(&self, name: &str) -> Result<(), Error> {
        self.lock().segments.remove(name);
        Ok(())
    }

    async fn ensure_volume(&self, _: &VolumeUse) -> Result<(), Error> {
        Ok(())
    }

    async fn begin_volume(&self, volume: &VolumeUse, move_id: &str) -> Result<(), Error> {
        let mut engine = self.lock();
        if engine.volumes.contains_key(&volume.name) {
            return Err(Error::new(
                Kind::AlreadyExists,
                format!("there is a volume {} already", volume.name),
            ));
        }
        engine.volumes.insert(volume.name.clone(), (Some(move_id.to_owned()), Vec::new()));
        Ok(())
    }

    async fn clear_volume(&self, name: &str, move_id: &str) -> Result<(), Error> {
        let mut engine = self.lock();
        if engine.volumes.get(name).is_some_and(|(made_for, _)| made_for.as_deref() == Some(move_id)) {
            engine.volumes.remove(name);
        }
        Ok(())
    }

    async fn export_volume(&self, name: &str) -> Result<Flow<Bytes>, Error> {
        let found = self.lock().volumes.get(name).map(|(_, content)| content.clone());
        let content = found.ok_or_else(|| Error::new(Kind::NotFound, format!("no such volume: {name}")))?;
        let chunks: Vec<_> = content.chunks(8 << 10).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Ok(Box::pin(futures_util::stream::iter(chunks)))
    }

    async fn import_volume(&self, name: &str, mut archive: Archive) -> Result<(), Error> {
        let mut content = Vec::new();
        while let Some(chunk) = archive.next().await {
            content.extend_from_slice(&chunk.map_err(|error| Error::new(Kind::Internal, error.to_string()))?);
        }
        let mut engine = self.lock();
        if content.len() > engine.room {
            return Err(Error::new(Kind::Exhausted, "write /var: no space left on device"));
        }
        if let Some(lost) = engine.loses.take() {
            content = lost;
        }
        let (_, volume) = engine
            .volumes
            .get_mut(name)
            .ok_or_else(|| Error::new(Kind::NotFound, format!("no such volume: {name}")))?;
        *volume = content;
        Ok(())
    }

    async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        self.lock().volumes.remove(name);
        Ok(())
    }
}
