//! 40 replicas of a tiny image: from `gantry up` to all running, and `gantry down`, beside the same 40
//! containers made and removed straight through the engine's API, with the same parallelism and kind of
//! network, in turns.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A bench that cannot be set up has failed.

use std::time::Instant;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Ipam, IpamConfig,
    NetworkCreateRequest, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptions, StartContainerOptions, StopContainerOptions,
};
use futures_util::{StreamExt as _, stream};
use gantry_e2e::{Cluster, Figure, median, report};

const REPLICAS: u8 = 40;
const ROUNDS: usize = 3;
/// As many as the agent starts and ends at a time.
const STARTS: usize = 4;
const STOPS: usize = 16;
const NETWORK: &str = "gantry-bench-peer";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let engine = Docker::connect_with_local_defaults().unwrap();
    let cluster = Cluster::start();
    let file = cluster.file(
        "bench",
        &format!("services: {{web: {{image: gantry-e2e/probe, command: [idle], deploy: {{replicas: {REPLICAS}}}}}}}"),
    );
    let [mut up, mut down, mut peer_up, mut peer_down] = [const { Vec::new() }; 4];
    let mut memory = Vec::new();
    for _ in 0..ROUNDS {
        up.push(timed(|| drop(cluster.ok(["up", "-f", &file]))));
        memory = ["agent", "scheduler", "proxy", "watchdog"].map(|part| resident(&cluster, part)).to_vec();
        down.push(timed(|| drop(cluster.ok(["down", "bench"]))));

        let began = Instant::now();
        let ids = runtime.block_on(peer_create(&engine));
        peer_up.push(began.elapsed().as_secs_f64());
        peer_down.push(timed(|| runtime.block_on(peer_remove(&engine, ids))));
    }
    let against = |values| Some(("the engine's API", median(values)));
    let own = |metric, value, budget| Figure { metric, value, unit: "MB", peer: None, budget };
    report(
        "deploy",
        &[
            Figure {
                metric: "40 replicas, up to all running",
                value: median(up),
                unit: "s",
                peer: against(peer_up),
                budget: Some(1.15),
            },
            Figure {
                metric: "40 replicas, down to all gone",
                value: median(down),
                unit: "s",
                peer: against(peer_down),
                budget: Some(1.15),
            },
            own("resident memory of the agent", memory[0], Some(20.0)),
            own("resident memory of the scheduler", memory[1], None),
            own("resident memory of the proxy", memory[2], None),
            own("resident memory of the watchdog", memory[3], None),
            own("resident memory of all four", memory.iter().sum(), Some(80.0)),
        ],
    );
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

/// What a part's process holds in memory, in MB (10⁶ bytes).
fn resident(cluster: &Cluster, part: &str) -> f64 {
    let id = cluster.docker(["inspect", "-f", "{{.State.Pid}}", &cluster.container(part)]);
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024.0 / 1e6
}

/// Makes and starts the containers on a network of their own, each with an address that was chosen here.
async fn peer_create(engine: &Docker) -> Vec<String> {
    let range = IpamConfig { subnet: Some("10.200.0.0/19".into()), ..IpamConfig::default() };
    let network = NetworkCreateRequest {
        name: NETWORK.into(),
        ipam: Some(Ipam { config: Some(vec![range]), ..Ipam::default() }),
        ..NetworkCreateRequest::default()
    };
    engine.create_network(network).await.unwrap();
    stream::iter(1..=REPLICAS)
        .map(|number| async move {
            let endpoint = EndpointSettings {
                ipam_config: Some(EndpointIpamConfig {
                    ipv4_address: Some(format!("10.200.1.{number}")),
                    ..EndpointIpamConfig::default()
                }),
                ..EndpointSettings::default()
            };
            let body = ContainerCreateBody {
                image: Some("gantry-e2e/probe".into()),
                cmd: Some(vec!["idle".into()]),
                host_config: Some(HostConfig { network_mode: Some(NETWORK.into()), ..HostConfig::default() }),
                networking_config: Some(NetworkingConfig {
                    endpoints_config: Some([(NETWORK.to_owned(), endpoint)].into()),
                }),
                ..ContainerCreateBody::default()
            };
            let name = format!("{NETWORK}-{number}");
            let options = CreateContainerOptionsBuilder::new().name(&name).build();
            let id = engine.create_container(Some(options), body).await.unwrap().id;
            engine.start_container(&id, None::<StartContainerOptions>).await.unwrap();
            id
        })
        .buffer_unordered(STARTS)
        .collect()
        .await
}

/// Asks the containers to end, as `gantry down` does, and removes them and their network.
async fn peer_remove(engine: &Docker, ids: Vec<String>) {
    stream::iter(ids)
        .for_each_concurrent(STOPS, |id| async move {
            engine.stop_container(&id, None::<StopContainerOptions>).await.unwrap();
            engine.remove_container(&id, None::<RemoveContainerOptions>).await.unwrap();
        })
        .await;
    engine.remove_network(NETWORK).await.unwrap();
}
