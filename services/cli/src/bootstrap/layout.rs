//! What a cluster's own containers are on one host. Pure.

use std::net::IpAddr;

use crate::args::Init;

/// One of Gantry's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The scheduler.
    Scheduler,
    /// The watchdog.
    Watchdog,
    /// The agent.
    Agent,
    /// The proxy.
    Proxy,
}

impl Part {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 4] = [Self::Scheduler, Self::Watchdog, Self::Agent, Self::Proxy];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Watchdog => "watchdog",
            Self::Agent => "agent",
            Self::Proxy => "proxy",
        }
    }

    /// How far its gRPC port is from the first.
    fn offset(self) -> u16 {
        match self {
            Self::Scheduler => 0,
            Self::Agent => 1,
            Self::Watchdog => 2,
            Self::Proxy => 3,
        }
    }
}

const ADVERTISED: &str = "GANTRY_ADVERTISE_ADDR=";
const MTU: &str = "GANTRY_MTU=";
/// Where an agent's container has the host's control groups.
pub const CGROUPS: &str = "/host/cgroup";

/// What an agent's container was told to be reached at.
pub fn advertised_in(environment: &[String]) -> Vec<IpAddr> {
    let all = environment.iter().find_map(|entry| entry.strip_prefix(ADVERTISED));
    all.into_iter().flat_map(|all| all.split(',')).filter_map(|ip| ip.parse().ok()).collect()
}

/// The MTU that a scheduler's container was told.
pub fn mtu_in(environment: &[String]) -> Option<u32> {
    environment.iter().find_map(|entry| entry.strip_prefix(MTU)?.parse().ok())
}

/// Admin ports are this far from the gRPC ports.
const ADMIN: u16 = 100;
/// The port for service addresses is this far from the first gRPC port.
const REDIRECT: u16 = 5;

/// A cluster's own containers on one host.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name, if it was given.
    pub node_name: Option<String>,
    advertise: Vec<IpAddr>,
    port_base: u16,
    pool: String,
    mtu: u32,
    /// Where the scheduler is, if not on this host.
    elsewhere: Vec<String>,
}

/// What a host that joins is told of its cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// What the containers are named by.
    pub name: String,
    /// The name of the node.
    pub node_name: String,
    /// Where others reach the node.
    pub advertise: Vec<IpAddr>,
    /// Where the scheduler is.
    pub schedulers: Vec<String>,
    /// The port at which every node's proxy takes connections to service addresses.
    pub redirect_port: u16,
}

impl Layout {
    /// What `init` asks for, with what was found out of the host.
    pub fn of(init: &Init, advertise: Vec<IpAddr>, mtu: u32) -> Self {
        Self {
            cluster: init.name.clone(),
            node_name: init.node_name.clone(),
            advertise,
            port_base: init.port_base,
            pool: init.pool.clone(),
            mtu,
            elsewhere: Vec::new(),
        }
    }

    /// A host that has joined: an agent and a proxy.
    pub fn joined(cluster: Cluster) -> Self {
        Self {
            cluster: cluster.name,
            node_name: Some(cluster.node_name),
            advertise: cluster.advertise,
            port_base: cluster.redirect_port.saturating_sub(REDIRECT),
            pool: String::new(),
            mtu: 0,
            elsewhere: cluster.schedulers,
        }
    }

    /// A host that has a scheduler and nothing else.
    pub fn restored(
        name: String,
        advertise: Vec<IpAddr>,
        redirect_port: u16,
        pool: String,
        mtu: u32,
    ) -> Self {
        Self {
            cluster: name,
            node_name: None,
            advertise,
            port_base: redirect_port.saturating_sub(REDIRECT),
            pool,
            mtu,
            elsewhere: Vec::new(),
        }
    }

    /// The name of a part's container, and of its volume.
    pub fn container(&self, part: Part) -> String {
        container_name(&self.cluster, part)
    }

    /// The name of a part's volume.
    pub fn volume(cluster: &str, part: Part) -> String {
        container_name(cluster, part)
    }

    /// The image of a part.
    pub fn image(part: Part) -> String {
        format!("gantry/{}:{}", part.name(), gantry_boot::VERSION)
    }

    fn port(&self, part: Part) -> u16 {
        self.port_base + part.offset()
    }

    /// Where the proxy takes connections to service addresses.
    fn redirect_port(&self) -> u16 {
        self.port_base + REDIRECT
    }

    /// Where the scheduler of this host is reached from elsewhere; from here, if it is for this host only.
    pub fn scheduler(&self) -> String {
        self.places().into_iter().next().unwrap_or_else(|| self.local_scheduler())
    }

    /// Where the scheduler of this host is reached from here.
    pub fn local_scheduler(&self) -> String {
        format!("127.0.0.1:{}", self.port(Part::Scheduler))
    }

    /// Every address of this host's scheduler.
    fn places(&self) -> Vec<String> {
        let port = self.port(Part::Scheduler);
        self.advertise.iter().map(|ip| std::net::SocketAddr::new(*ip, port).to_string()).collect()
    }

    /// Where the other parts look for the scheduler.
    fn schedulers(&self) -> String {
        match self.elsewhere.as_slice() {
            // The same host: whatever becomes of its addresses.
            [] => self.local_scheduler(),
            elsewhere => elsewhere.join(","),
        }
    }

    fn advertised(&self) -> Option<String> {
        let all: Vec<_> = self.advertise.iter().map(ToString::to_string).collect();
        (!all.is_empty()).then(|| all.join(","))
    }

    /// The host names and addresses under which servers of this node are reached.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        hosts.extend(self.advertise.iter().map(ToString::to_string));
        hosts
    }

    /// What a part is told by its environment.
    pub fn environment(&self, part: Part) -> Vec<String> {
        // A cluster for this machine only does not listen to others.
        let ip = if self.advertise.is_empty() { "127.0.0.1" } else { "0.0.0.0" };
        let mut environment = vec![
            format!("GANTRY_LISTEN={ip}:{}", self.port(part)),
            format!("GANTRY_ADMIN=127.0.0.1:{}", self.port(part) + ADMIN),
        ];
        match part {
            Part::Scheduler => {
                environment.extend([
                    format!("GANTRY_REDIRECT_PORT={}", self.redirect_port()),
                    format!("GANTRY_CLUSTER_NAME={}", self.cluster),
                    format!("GANTRY_POOL={}", self.pool),
                    format!("GANTRY_MTU={}", self.mtu),
                ]);
                let places = self.places();
                if !places.is_empty() {
                    environment.push(format!("GANTRY_ADVERTISE={}", places.join(",")));
                }
            }
            Part::Watchdog => environment.push(format!("GANTRY_SCHEDULER={}", self.schedulers())),
            Part::Agent => {
                environment.push(format!("GANTRY_SCHEDULER={}", self.schedulers()));
                environment.push(format!("GANTRY_VOLUME={}", self.container(part)));
                environment.push(format!("GANTRY_CGROUPS={CGROUPS}"));
                environment.extend(self.advertised().map(|all| format!("{ADVERTISED}{all}")));
                environment.extend(self.node_name.as_ref().map(|name| format!("GANTRY_NODE_NAME={name}")));
            }
            Part::Proxy => environment.extend([
                format!("GANTRY_REDIRECT_PORT={}", self.redirect_port()),
                format!("GANTRY_SCHEDULER={}", self.schedulers()),
            ]),
        }
        // So that a cluster can be made talkative for a while.
        environment.extend(std::env::var("GANTRY_LOG").ok().map(|filter| format!("GANTRY_LOG={filter}")));
        environment
    }

    /// The capabilities that a part needs, and no other.
    pub fn capabilities(part: Part) -> &'static [&'static str] {
        match part {
            Part::Scheduler | Part::Watchdog => &[],
            // Files that it mounts into containers are its own; the engine does the rest.
            Part::Agent => &["NET_ADMIN"],
            // Port 53.
            Part::Proxy => &["NET_BIND_SERVICE"],
        }
    }
}

/// The name of a part's container, and of its volume.
pub fn container_name(cluster: &str, part: Part) -> String {
    match cluster {
        "default" => format!("gantry-{}", part.name()),
        other => format!("gantry-{other}-{}", part.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(name: &str, advertise: Option<&str>) -> Layout {
        let init = Init {
            name: name.into(),
            advertise_addr: Vec::new(),
            node_name: None,
            docker: Default::default(),
            port_base: 7070,
            pool: "10.192.0.0/11".into(),
            mtu: None,
        };
        Layout::of(&init, advertise.iter().map(|ip| ip.parse().unwrap()).collect(), 1450)
    }

    #[test]
    fn a_host_that_joined_finds_the_scheduler_elsewhere_and_has_the_clusters_ports() {
        let layout = Layout::joined(Cluster {
            name: "default".into(),
            node_name: "n2".into(),
            advertise: vec!["192.0.2.8".parse().unwrap()],
            schedulers: vec!["192.0.2.7:7570".into(), "198.51.100.7:7570".into()],
            redirect_port: 7575,
        });
        let agent = layout.environment(Part::Agent);
        assert!(agent.contains(&"GANTRY_SCHEDULER=192.0.2.7:7570,198.51.100.7:7570".to_owned()), "{agent:?}");
        assert!(agent.contains(&"GANTRY_LISTEN=0.0.0.0:7571".to_owned()), "{agent:?}");
        assert!(agent.contains(&"GANTRY_CGROUPS=/host/cgroup".to_owned()), "{agent:?}");
        assert_eq!(advertised_in(&agent), ["192.0.2.8".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_cluster_for_one_machine_listens_to_nobody_else() {
        let own = layout("default", None);
        assert!(
            Part::ALL.iter().all(|part| own.environment(*part)[0].starts_with("GANTRY_LISTEN=127.0.0.1:"))
        );
        let many = layout("default", Some("192.0.2.7"));
        assert_eq!(many.environment(Part::Agent)[0], "GANTRY_LISTEN=0.0.0.0:7071");
        assert_eq!((many.scheduler(), own.scheduler()), ("192.0.2.7:7070".into(), "127.0.0.1:7070".into()));
        assert!(many.environment(Part::Scheduler).contains(&"GANTRY_ADVERTISE=192.0.2.7:7070".to_owned()));
    }

    #[test]
    fn two_clusters_on_one_host_have_different_names() {
        assert_eq!(layout("default", None).container(Part::Agent), "gantry-agent");
        assert_eq!(layout("test", None).container(Part::Agent), "gantry-test-agent");
    }

    #[test]
    fn a_watchdog_runs_beside_the_scheduler_and_may_do_nothing_on_the_host() {
        let many = layout("default", Some("192.0.2.7"));
        let told = many.environment(Part::Watchdog);
        for entry in
            ["GANTRY_LISTEN=0.0.0.0:7072", "GANTRY_ADMIN=127.0.0.1:7172", "GANTRY_SCHEDULER=127.0.0.1:7070"]
        {
            assert!(told.contains(&entry.to_owned()), "{told:?}");
        }
        assert!(Layout::capabilities(Part::Watchdog).is_empty());
        assert_eq!(many.container(Part::Watchdog), "gantry-watchdog");
    }
}
