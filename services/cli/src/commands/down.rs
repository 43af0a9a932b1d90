//! `gantry down`

use gantry_api::cluster::v1::RemoveStackRequest;

use crate::args::Down;
use crate::client::Cluster;
use crate::failure::Result;
use crate::progress::{self, Until};
use crate::{output, project};

/// Removes a stack.
pub async fn run(cluster: &Cluster, down: Down) -> Result<()> {
    let stack = match &down.stack {
        Some(stack) => stack.clone(),
        None => project::stack(&down.file)?.to_string(),
    };
    let request = RemoveStackRequest { name: stack.clone(), volumes: down.volumes };
    cluster.stacks().remove_stack(request).await?;
    if down.detach {
        return output::print(&format!("{stack} is on its way out\n"));
    }
    progress::wait(cluster, &stack, Until::Gone, down.timeout).await?;
    output::print(&format!("{stack} is gone\n"))
}
