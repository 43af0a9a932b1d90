//! The load that a service had in the last minutes, for `gantry autoscale simulate --recorded`.

use gantry_api::cluster::v1::ListAutoscaledRequest;
use gantry_autoscale::simulate::Load;
use gantry_model::ServiceSpec;
use gantry_model::wire::read_autoscale;

use crate::args::Simulate;
use crate::client::Cluster;
use crate::commands::stats::{Recorded, recorded};
use crate::failure::{Failure, Result};
use crate::project;

/// The load, and the service as it is deployed where no file says it otherwise.
pub async fn read(cluster: &Cluster, args: &Simulate) -> Result<(Load, Option<ServiceSpec>)> {
    let name = project::service(&args.file, args.service.as_deref().unwrap_or_default())?;
    let load = load(&recorded(cluster, name.clone(), args.last).await?)?;
    let deployed = match args.file.file {
        Some(_) => None,
        None => Some(deployed(cluster, &name).await?),
    };
    Ok((load, deployed))
}

/// Second by second, as it was recorded; seconds of which nothing is known are as the one before.
fn load(recorded: &Recorded) -> Result<Load> {
    let known = recorded.seconds.iter().filter_map(|of| Some((of.second, of.requests_per_second?)));
    let lines: Vec<String> = known.map(|(second, rps)| format!("{second},{rps}")).collect();
    Load::parse(&lines.join("\n")).map_err(|_| {
        Failure::error(format!("too few requests to {} were recorded to replay them", recorded.service))
            .hint("wait until it had some traffic through the proxy, or give a load with --load FILE.csv")
    })
}

/// The rules that the service has now; what else it is does not matter to a simulation.
async fn deployed(cluster: &Cluster, name: &str) -> Result<ServiceSpec> {
    let stack = name.split('/').next().unwrap_or_default().to_owned();
    let listed = cluster.autoscale().list_autoscaled(ListAutoscaledRequest { stack }).await?.into_inner();
    let rules = listed.services.into_iter().find(|service| service.name == name);
    let rules = rules.and_then(|service| service.rules).map(read_autoscale).transpose();
    let rules = rules.map_err(|bad| {
        Failure::error(format!("cannot read the rules of {name}: {bad}"))
            .hint("`gantry version` says whether this tool is as new as the cluster")
    })?;
    Ok(ServiceSpec { autoscale: rules, ..ServiceSpec::default() })
}

#[cfg(test)]
mod tests {
    use gantry_api::cluster::v1::{GetHistoryResponse, HistoryPoint, HistoryTraffic};

    use super::*;

    fn seconds(rps: &[Option<u32>]) -> Recorded {
        let points = (0..).zip(rps).map(|(seconds, rps)| HistoryPoint {
            time: Some(prost_types::Timestamp { seconds: 1_000 + seconds, nanos: 0 }),
            traffic: rps.map(|arrived| HistoryTraffic { arrived, ..HistoryTraffic::default() }),
            ..HistoryPoint::default()
        });
        GetHistoryResponse { points: points.collect(), ..GetHistoryResponse::default() }.into()
    }

    #[test]
    fn what_was_recorded_is_replayed_second_by_second() {
        let load = load(&seconds(&[None, Some(5), None, Some(9), Some(2)])).unwrap();
        let rps = [0, 1, 2, 3].map(|second| load.at(second).to_string());
        assert_eq!((load.seconds(), rps), (3, ["5", "5", "9", "2"].map(str::to_owned)));
    }

    #[test]
    fn without_requests_there_is_nothing_to_replay() {
        let wrong = |rps: &[Option<u32>]| load(&seconds(rps)).unwrap_err().to_string();
        assert!(wrong(&[]).contains("too few requests"));
        assert!(wrong(&[None, Some(3), None]).contains("too few requests"));
    }
}
