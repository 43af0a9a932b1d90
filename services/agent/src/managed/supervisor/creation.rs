//! How a supervisor makes a container: its networks, its volumes and its image first.

use tokio::sync::watch;

use gantry_model::{Goal, MountSource};

use super::{Sight, Supervisor};
use crate::engine::{Error, Kind};
use crate::managed::assignment::{Assignment, VolumeUse};
use crate::managed::lease::Standing;
use crate::managed::runtime::Runtime;
use crate::managed::status::Activity;
use crate::transfer::ImageNeeded;

impl<R: Runtime> Supervisor<R> {
    pub(super) async fn create(&mut self, desired: &Assignment) -> Result<(), Error> {
        let shared = self.shared.clone();
        let runtime = &shared.runtime;
        for network in &desired.networks {
            shared.segments.ensure(runtime, &network.network).await?;
        }
        for volume in self.volumes_of(desired) {
            runtime.ensure_volume(&volume).await?;
        }
        let Some(image) = self.image(desired).await? else { return Ok(()) };
        let segments = shared.segments.wanted();
        let resolv_conf = shared.folders.resolv_conf(desired, &segments).map_err(|error| {
            Error::new(Kind::Exhausted, format!("cannot write the agent's folder: {error}"))
        })?;
        self.show(Activity::Starting);
        let _permit = shared.starts.acquire().await;
        let id = match runtime.create(desired, &image, resolv_conf.into_iter().collect()).await {
            Ok(id) => id,
            // An earlier try may have got further than it could say.
            Err(error) if error.kind == Kind::AlreadyExists => return self.adopt(desired, error).await,
            Err(error) => {
                // It may have been a network that somebody removed.
                shared.segments.doubt().await;
                return Err(error);
            }
        };
        // Its lease may have ended while its image came.
        let started = if self.may_start() { runtime.start(&id).await } else { Ok(()) };
        let seen = runtime.observe(&id).await?;
        if let Some(seen) = &seen
            && !desired.image_digest.is_empty()
            && seen.image_id != desired.image_digest
        {
            // The name was given to another image between the look and the create.
            runtime.remove(&id).await?;
            self.see(Sight::Absent);
            return Err(Error::new(Kind::State, format!("{image} was given to another image meanwhile")));
        }
        self.see(seen.map_or(Sight::Absent, Sight::Present));
        started
    }

    /// The name to make the container from, once the image is here. `None` if it is not wanted any more.
    async fn image(&mut self, desired: &Assignment) -> Result<Option<String>, Error> {
        let shared = self.shared.clone();
        let needed = ImageNeeded {
            image: &desired.container.image,
            digest: &desired.image_digest,
            platform: desired.container.platform.as_deref().unwrap_or_default(),
        };
        let (tell, mut told) = watch::channel(String::new());
        let obtaining = shared.copies.obtain(&shared.runtime, needed, |words| drop(tell.send(words)));
        let mut obtaining = std::pin::pin!(obtaining);
        let mut changes = self.input.subscribe();
        let unwanted = changes.wait_for(|input| {
            input.standing != Standing::Held
                || input.desired.as_ref().is_none_or(|desired| desired.goal != Goal::Run)
        });
        let mut unwanted = std::pin::pin!(unwanted);
        loop {
            tokio::select! {
                image = &mut obtaining => return image.map(Some),
                _ = &mut unwanted => return Ok(None),
                Ok(()) = told.changed() => {
                    let words = told.borrow_and_update().clone();
                    self.show(Activity::Preparing(words));
                }
            }
        }
    }

    async fn adopt(&mut self, desired: &Assignment, error: Error) -> Result<(), Error> {
        match self.shared.runtime.observe(&desired.name).await? {
            Some(own) if own.replica == self.replica => {
                self.see(Sight::Present(own));
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn volumes_of(&self, desired: &Assignment) -> Vec<VolumeUse> {
        let known = self.shared.volumes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let named = desired.container.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name: Some(name), .. } => Some(name),
            _ => None,
        });
        named.filter_map(|name| known.iter().find(|volume| volume.name == *name).cloned()).collect()
    }
}
