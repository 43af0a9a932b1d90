//! A new proxy takes over from the one that runs, so that no connection is refused between the two: it
//! finds the other by the volume that both have, and gets its sockets (see the proxy's `handover`).

use std::time::Duration;

use bollard::errors::Error as Bollard;
use bollard::models::{ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::{RenameContainerOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::host::{Host, failed, is_missing};
use super::layout::{Layout, Part};
use crate::failure::Result;

/// Its last requests may take half a minute.
const LAST_REQUESTS: Duration = Duration::from_secs(45);

impl Host {
    /// Makes room for a new container of a part while the one that is there goes on. Answers whether
    /// there is one.
    pub async fn step_aside(&self, layout: &Layout, part: Part) -> Result<bool> {
        let name = layout.container(part);
        let old = aside(&name);
        self.remove_container(&old).await?;
        let rename = RenameContainerOptionsBuilder::new().name(&old).build();
        match self.docker.rename_container(&name, rename).await {
            Ok(()) => {}
            Err(error) if is_missing(&error) => return Ok(false),
            Err(error) => return Err(failed(&format!("cannot rename the container {name}"))(error)),
        }
        // When it ends, that is for good.
        let never = ContainerUpdateBody {
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            ..ContainerUpdateBody::default()
        };
        self.docker
            .update_container(&old, never)
            .await
            .map_err(failed(&format!("cannot change the container {old}")))?;
        Ok(true)
    }

    /// Waits until the container that stepped aside has ended, and removes it.
    pub async fn see_off(&self, layout: &Layout, part: Part) -> Result<()> {
        let old = aside(&layout.container(part));
        let mut ending = self.docker.wait_container(&old, None::<WaitContainerOptions>);
        match timeout(LAST_REQUESTS, ending.next()).await {
            // It ended, with whatever code.
            Ok(Some(Ok(_) | Err(Bollard::DockerContainerWaitError { .. })) | None) => {}
            Ok(Some(Err(error))) if is_missing(&error) => {}
            Ok(Some(Err(error))) => return Err(failed("cannot wait for a container")(error)),
            // It does not know how to hand over: end it.
            Err(_) => {}
        }
        self.remove_container(&old).await
    }
}

fn aside(name: &str) -> String {
    format!("{name}-relieved")
}
