//! `gantry version`

use gantry_api::cluster::v1::GetClusterRequest;
use serde::Serialize;

use crate::args::Format;
use crate::client::Cluster;
use crate::failure::Result;
use crate::output;

#[derive(Serialize)]
struct Versions {
    client: String,
    cluster: Option<String>,
    name: Option<String>,
    id: Option<String>,
}

/// Shows the versions. A cluster that cannot be reached is no failure: this is asked to find out why.
pub async fn run(context: Option<&str>, host: Option<&str>, format: &Format) -> Result<()> {
    let asked = async {
        let cluster = Cluster::connect(context, host).await?;
        Ok::<_, crate::failure::Failure>(
            cluster.cluster().get_cluster(GetClusterRequest {}).await?.into_inner(),
        )
    };
    let (known, why) = match asked.await {
        Ok(known) => (Some(known), String::new()),
        Err(failure) => (None, failure.to_string()),
    };
    let versions = Versions {
        client: gantry_boot::VERSION.to_owned(),
        cluster: known.as_ref().map(|known| known.version.clone()),
        name: known.as_ref().map(|known| known.name.clone()),
        id: known.map(|known| known.id),
    };
    output::one(&versions, format.format, || match (&versions.cluster, &versions.name, &versions.id) {
        (Some(cluster), Some(name), Some(id)) => {
            format!("gantry   {}\ncluster  {cluster}  ({name}, id {id})\n", versions.client)
        }
        _ => format!("gantry   {}\ncluster  not reached: {why}\n", versions.client),
    })
}
