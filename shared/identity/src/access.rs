//! Which role may call which RPC. This table is the only place that says so.

use crate::role::Role::{self, Admin, Node, Operator, Proxy, Scheduler, Viewer, Watchdog};

const EVERYBODY: &[Role] = &[Admin, Operator, Viewer, Node, Proxy, Watchdog, Scheduler];
/// People who read.
const READ: &[Role] = &[Admin, Operator, Viewer];
/// People who change.
const CHANGE: &[Role] = &[Admin, Operator];
/// Environments of containers and processes in them are open to those who may deploy.
const REACH_IN: &[Role] = CHANGE;

/// Service, method (`*` is all that are not named), roles.
const TABLE: &[(&str, &str, &[Role])] = &[
    ("grpc.health.v1.Health", "*", EVERYBODY),
    ("grpc.reflection.v1.ServerReflection", "*", EVERYBODY),
    ("grpc.reflection.v1alpha.ServerReflection", "*", EVERYBODY),
    // The scheduler, for people.
    ("gantry.cluster.v1.ClusterService", "GetCluster", READ),
    ("gantry.cluster.v1.ClusterService", "Backup", &[Admin]),
    ("gantry.cluster.v1.MembershipService", "CreateToken", &[Admin]),
    ("gantry.cluster.v1.MembershipService", "ListTokens", &[Admin]),
    ("gantry.cluster.v1.StackService", "PlanStack", CHANGE),
    ("gantry.cluster.v1.StackService", "ApplyStack", CHANGE),
    ("gantry.cluster.v1.StackService", "RemoveStack", CHANGE),
    ("gantry.cluster.v1.StackService", "GetStack", READ),
    ("gantry.cluster.v1.StackService", "ListStacks", READ),
    ("gantry.cluster.v1.StackService", "WatchStack", READ),
    ("gantry.cluster.v1.ServiceService", "ListServices", READ),
    ("gantry.cluster.v1.ServiceService", "GetService", READ),
    ("gantry.cluster.v1.ServiceService", "ExplainService", READ),
    ("gantry.cluster.v1.ServiceService", "ScaleService", CHANGE),
    ("gantry.cluster.v1.ServiceService", "RestartService", CHANGE),
    ("gantry.cluster.v1.ServiceService", "StopService", CHANGE),
    ("gantry.cluster.v1.ServiceService", "StartService", CHANGE),
    ("gantry.cluster.v1.ServiceService", "RemoveService", CHANGE),
    ("gantry.cluster.v1.AutoscaleService", "ListAutoscaled", READ),
    ("gantry.cluster.v1.AutoscaleService", "SetAutoscale", CHANGE),
    ("gantry.cluster.v1.ReplicaService", "ListReplicas", READ),
    ("gantry.cluster.v1.ReplicaService", "StreamLogs", READ),
    ("gantry.cluster.v1.ReplicaService", "StreamStats", READ),
    ("gantry.cluster.v1.ReplicaService", "TopReplica", READ),
    ("gantry.cluster.v1.ReplicaService", "Exec", REACH_IN),
    ("gantry.cluster.v1.ReplicaService", "CopyIn", REACH_IN),
    ("gantry.cluster.v1.ReplicaService", "CopyOut", REACH_IN),
    ("gantry.cluster.v1.NodeService", "ListNodes", READ),
    ("gantry.cluster.v1.NodeService", "GetNode", READ),
    ("gantry.cluster.v1.NodeService", "WatchNode", READ),
    ("gantry.cluster.v1.NodeService", "UpdateNode", CHANGE),
    ("gantry.cluster.v1.NodeService", "RemoveNode", &[Admin]),
    ("gantry.cluster.v1.PlacementService", "Rebalance", CHANGE),
    ("gantry.cluster.v1.ResourceService", "ListVolumes", READ),
    ("gantry.cluster.v1.ResourceService", "InspectVolume", READ),
    // A driver's options can name any folder of the host.
    ("gantry.cluster.v1.ResourceService", "CreateVolume", &[Admin]),
    ("gantry.cluster.v1.ResourceService", "MoveVolume", CHANGE),
    ("gantry.cluster.v1.ResourceService", "RemoveVolume", CHANGE),
    ("gantry.cluster.v1.ResourceService", "ListNetworks", READ),
    ("gantry.cluster.v1.ResourceService", "ListImages", READ),
    ("gantry.cluster.v1.EventService", "ListEvents", READ),
    ("gantry.cluster.v1.EventService", "WatchEvents", READ),
    ("gantry.cluster.v1.RouteService", "GetRoutes", READ),
    ("gantry.cluster.v1.AlertService", "ListAlerts", READ),
    ("gantry.cluster.v1.AlertService", "ListAlertHistory", READ),
    ("gantry.cluster.v1.AlertService", "CreateSilence", CHANGE),
    ("gantry.cluster.v1.AlertService", "ListSilences", READ),
    ("gantry.cluster.v1.AlertService", "RemoveSilence", CHANGE),
    ("gantry.cluster.v1.AlertService", "GetAlertConfig", READ),
    // The watchdog posts to what is set here, from the network of the scheduler's host: what listens there
    // for nobody but the host, such as an engine's API, takes that for the host's own.
    ("gantry.cluster.v1.AlertService", "SetAlertConfig", &[Admin]),
    // Only to whom an admin has set.
    ("gantry.cluster.v1.AlertService", "TestReceivers", CHANGE),
    // Rules of alerts look at traffic, too.
    ("gantry.cluster.v1.TrafficService", "GetTraffic", &[Admin, Operator, Viewer, Watchdog]),
    ("gantry.cluster.v1.TrafficService", "WatchTraffic", READ),
    ("gantry.cluster.v1.UsageService", "GetAdvice", READ),
    ("gantry.cluster.v1.UsageService", "GetHistory", READ),
    // The scheduler, for the cluster's own services.
    ("gantry.node.v1.SessionService", "Session", &[Node]),
    ("gantry.node.v1.RelayService", "Relay", &[Node]),
    ("gantry.node.v1.TransferService", "FetchImage", &[Node]),
    ("gantry.node.v1.TransferService", "FetchVolume", &[Node]),
    ("gantry.node.v1.MemberService", "Renew", &[Node, Proxy, Watchdog]),
    ("gantry.node.v1.MemberService", "GetSelf", &[Node]),
    ("gantry.node.v1.MemberService", "Leave", &[Node]),
    ("gantry.node.v1.RoutingService", "StreamTables", &[Proxy]),
    ("gantry.node.v1.RoutingService", "ReportTraffic", &[Proxy]),
    ("gantry.feed.v1.FeedService", "Watch", &[Admin, Operator, Viewer, Watchdog]),
    ("gantry.feed.v1.AlertFeedService", "WatchAlerts", &[Watchdog]),
    ("gantry.feed.v1.AlertFeedService", "ReportAlerts", &[Watchdog]),
    ("gantry.feed.v1.VerdictService", "Lead", &[Watchdog]),
    ("gantry.feed.v1.VerdictService", "Submit", &[Watchdog]),
    // Watchdogs, for people.
    ("gantry.watchdog.v1.WatchdogService", "GetStatus", READ),
    // Proxies, for people.
    ("gantry.proxy.v1.ProxyService", "GetRoutes", READ),
    ("gantry.proxy.v1.ProxyService", "GetEndpoints", READ),
    // Agents, for people. A plain container can be given a bind of the host's root, so whoever
    // makes one is root there.
    ("gantry.agent.v1.HostService", "GetHost", READ),
    ("gantry.agent.v1.ContainerService", "InspectContainer", READ),
    ("gantry.agent.v1.ContainerService", "ListContainers", READ),
    ("gantry.agent.v1.ContainerService", "WaitContainer", READ),
    ("gantry.agent.v1.ContainerService", "TopContainer", READ),
    ("gantry.agent.v1.ContainerService", "StreamLogs", READ),
    ("gantry.agent.v1.ContainerService", "StreamStats", READ),
    ("gantry.agent.v1.ContainerService", "StreamEvents", READ),
    ("gantry.agent.v1.ContainerService", "Exec", &[Admin]),
    ("gantry.agent.v1.ContainerService", "Attach", &[Admin]),
    ("gantry.agent.v1.ContainerService", "CopyIn", &[Admin]),
    ("gantry.agent.v1.ContainerService", "CopyOut", &[Admin]),
    ("gantry.agent.v1.ContainerService", "CreateContainer", CHANGE),
    ("gantry.agent.v1.ContainerService", "StartContainer", CHANGE),
    ("gantry.agent.v1.ContainerService", "StopContainer", CHANGE),
    ("gantry.agent.v1.ContainerService", "RestartContainer", CHANGE),
    ("gantry.agent.v1.ContainerService", "KillContainer", CHANGE),
    ("gantry.agent.v1.ContainerService", "PauseContainer", CHANGE),
    ("gantry.agent.v1.ContainerService", "UnpauseContainer", CHANGE),
    ("gantry.agent.v1.ContainerService", "RenameContainer", CHANGE),
    ("gantry.agent.v1.ContainerService", "RemoveContainer", CHANGE),
    ("gantry.agent.v1.ImageService", "ListImages", READ),
    ("gantry.agent.v1.ImageService", "InspectImage", READ),
    ("gantry.agent.v1.ImageService", "PullImage", CHANGE),
    ("gantry.agent.v1.ImageService", "TagImage", CHANGE),
    ("gantry.agent.v1.ImageService", "RemoveImage", CHANGE),
    ("gantry.agent.v1.ImageService", "BuildImage", CHANGE),
    ("gantry.agent.v1.ImageService", "ExportImage", CHANGE),
    ("gantry.agent.v1.ImageService", "ImportImage", CHANGE),
    ("gantry.agent.v1.VolumeService", "ListVolumes", READ),
    ("gantry.agent.v1.VolumeService", "InspectVolume", READ),
    ("gantry.agent.v1.VolumeService", "CreateVolume", &[Admin]),
    ("gantry.agent.v1.VolumeService", "RemoveVolume", CHANGE),
    ("gantry.agent.v1.NetworkService", "ListNetworks", READ),
    ("gantry.agent.v1.NetworkService", "InspectNetwork", READ),
    ("gantry.agent.v1.NetworkService", "CreateNetwork", CHANGE),
    ("gantry.agent.v1.NetworkService", "RemoveNetwork", CHANGE),
];

/// What is called without a certificate, and what is shown there instead. Nothing else is.
const OPEN: &[(&str, &str)] = &[("gantry.cluster.v1.JoinService", "Join")];

fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/')
}

/// Whether `path`, which is `/package.Service/Method`, is called by those who have no certificate yet.
pub fn is_open(path: &str) -> bool {
    split(path).is_some_and(|called| OPEN.contains(&called))
}

/// The roles that may call `path`, which is `/package.Service/Method`. Nobody may call what the
/// table does not name.
pub fn roles_for(path: &str) -> &'static [Role] {
    let Some((service, method)) = split(path) else {
        return &[];
    };
    TABLE
        .iter()
        .find(|(of, name, _)| *of == service && (*name == method || *name == "*"))
        .map_or(&[], |(_, _, roles)| roles)
}

/// Whether `role` may call `path`, which is `/package.Service/Method`.
pub fn may_call(role: Role, path: &str) -> bool {
    roles_for(path).contains(&role)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn every_rpc() -> BTreeSet<(String, String)> {
        let descriptors = FileDescriptorSet::decode(gantry_api::DESCRIPTORS).unwrap();
        let mut rpcs = BTreeSet::new();
        for file in &descriptors.file {
            for service in &file.service {
                for method in &service.method {
                    rpcs.insert((format!("{}.{}", file.package(), service.name()), method.name().to_owned()));
                }
            }
        }
        rpcs
    }

    #[test]
    fn every_rpc_is_in_the_table_and_the_table_names_only_rpcs() {
        let named: BTreeSet<_> = TABLE
            .iter()
            .map(|(service, method, _)| (service, method))
            .chain(OPEN.iter().map(|(service, method)| (service, method)))
            .filter(|(service, _)| service.starts_with("gantry."))
            .map(|(service, method)| ((*service).to_owned(), (*method).to_owned()))
            .collect();
        assert_eq!(named, every_rpc());
        assert!(every_rpc().len() > 60);
    }

    #[test]
    fn viewers_change_nothing() {
        let harmless = ["Get", "List", "Inspect", "Watch", "Stream", "Explain", "Wait", "Top"];
        for (service, method) in every_rpc() {
            if may_call(Viewer, &format!("/{service}/{method}")) {
                assert!(harmless.iter().any(|start| method.starts_with(start)), "{service}/{method}");
            }
        }
    }

    #[test]
    fn the_clusters_own_services_reach_only_what_is_theirs() {
        for (service, method) in every_rpc() {
            let path = format!("/{service}/{method}");
            assert_eq!(
                may_call(Node, &path),
                ["SessionService", "RelayService", "TransferService", "MemberService"]
                    .iter()
                    .any(|name| service.ends_with(name)),
                "{path}"
            );
            let of_proxies = service.ends_with("RoutingService") || path.ends_with("MemberService/Renew");
            assert_eq!(may_call(Proxy, &path), of_proxies, "{path}");
            let of_watchdogs = service.starts_with("gantry.feed.")
                || path.ends_with("TrafficService/GetTraffic")
                || path.ends_with("MemberService/Renew");
            assert_eq!(may_call(Watchdog, &path), of_watchdogs, "{path}");
            assert!(!may_call(Scheduler, &path), "{path}");
        }
    }

    #[test]
    fn what_reaches_a_host_itself_takes_an_admin() {
        for (path, also_operators) in [
            ("/gantry.cluster.v1.AlertService/SetAlertConfig", false),
            ("/gantry.cluster.v1.AlertService/TestReceivers", true),
            ("/gantry.cluster.v1.ResourceService/CreateVolume", false),
            ("/gantry.agent.v1.ContainerService/Exec", false),
        ] {
            assert!(may_call(Admin, path) && !may_call(Viewer, path), "{path}");
            assert_eq!(may_call(Operator, path), also_operators, "{path}");
        }
    }

    #[test]
    fn without_a_certificate_one_may_join_and_nothing_else() {
        let open: Vec<_> = every_rpc()
            .into_iter()
            .filter(|(service, name)| is_open(&format!("/{service}/{name}")))
            .collect();
        assert_eq!(open, [("gantry.cluster.v1.JoinService".to_owned(), "Join".to_owned())]);
        assert!(roles_for("/gantry.cluster.v1.JoinService/Join").is_empty());
    }

    #[test]
    fn what_the_table_does_not_name_is_closed() {
        assert!(roles_for("/gantry.cluster.v1.StackService/Explode").is_empty());
        assert!(roles_for("nonsense").is_empty());
        assert!(may_call(Node, "/grpc.health.v1.Health/Check"));
    }
}
