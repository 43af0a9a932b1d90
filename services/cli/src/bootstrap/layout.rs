//! What a cluster's own containers are on one host. Pure.

use std::net::IpAddr;

use crate::args::Init;

/// One of Gantry's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The scheduler.
    Scheduler,
    /// The agent.
    Agent,
    /// The proxy.
    Proxy,
}

impl Part {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 3] = [Self::Scheduler, Self::Agent, Self::Proxy];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Agent => "agent",
            Self::Proxy => "proxy",
        }
    }

    /// How far its gRPC port is from the first.
    fn offset(self) -> u16 {
        match self {
            Self::Scheduler => 0,
            Self::Agent => 1,
            Self::Proxy => 3,
        }
    }
}

/// Admin ports are this far from the gRPC ports.
const ADMIN: u16 = 100;
/// The port for service addresses is this far from the first gRPC port.
const REDIRECT: u16 = 5;

/// A cluster on one host.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name, if it was given.
    pub node_name: Option<String>,
    advertise: Option<IpAddr>,
    port_base: u16,
    pool: String,
    mtu: u32,
}

impl Layout {
    /// What `init` asks for.
    pub fn of(init: &Init) -> Self {
        Self {
            cluster: init.name.clone(),
            node_name: init.node_name.clone(),
            advertise: init.advertise_addr,
            port_base: init.port_base,
            pool: init.pool.clone(),
            mtu: init.mtu,
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

    /// Where the scheduler is reached from this host.
    pub fn scheduler(&self) -> String {
        let host = self.advertise.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string());
        format!("{host}:{}", self.port(Part::Scheduler))
    }

    /// The host names and addresses under which servers of this node are reached.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        hosts.extend(self.advertise.map(|ip| ip.to_string()));
        hosts
    }

    /// What a part is told by its environment.
    pub fn environment(&self, part: Part) -> Vec<String> {
        // A cluster for this machine only does not listen to others.
        let ip = self.advertise.map_or("127.0.0.1", |_| "0.0.0.0");
        let mut environment = vec![
            format!("GANTRY_LISTEN={ip}:{}", self.port(part)),
            format!("GANTRY_ADMIN=127.0.0.1:{}", self.port(part) + ADMIN),
        ];
        match part {
            Part::Scheduler => environment.extend([
                format!("GANTRY_REDIRECT_PORT={}", self.redirect_port()),
                format!("GANTRY_CLUSTER_NAME={}", self.cluster),
                format!("GANTRY_POOL={}", self.pool),
                format!("GANTRY_MTU={}", self.mtu),
            ]),
            Part::Agent => {
                environment.push(format!("GANTRY_SCHEDULER={}", self.scheduler()));
                environment.push(format!("GANTRY_VOLUME={}", self.container(part)));
                environment.extend(self.advertise.map(|ip| format!("GANTRY_ADVERTISE_ADDR={ip}")));
                environment.extend(self.node_name.as_ref().map(|name| format!("GANTRY_NODE_NAME={name}")));
            }
            Part::Proxy => environment.extend([
                format!("GANTRY_REDIRECT_PORT={}", self.redirect_port()),
                format!("GANTRY_SCHEDULER={}", self.scheduler()),
            ]),
        }
        // So that a cluster can be made talkative for a while.
        environment.extend(std::env::var("GANTRY_LOG").ok().map(|filter| format!("GANTRY_LOG={filter}")));
        environment
    }

    /// The capabilities that a part needs, and no other.
    pub fn capabilities(part: Part) -> &'static [&'static str] {
        match part {
            Part::Scheduler => &[],
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
        Layout::of(&Init {
            name: name.into(),
            advertise_addr: advertise.map(|ip| ip.parse().unwrap()),
            node_name: None,
            port_base: 7070,
            pool: "10.192.0.0/11".into(),
            mtu: 1450,
        })
    }

    #[test]
    fn a_cluster_for_one_machine_listens_to_nobody_else() {
        let own = layout("default", None);
        assert!(
            Part::ALL.iter().all(|part| own.environment(*part)[0].starts_with("GANTRY_LISTEN=127.0.0.1:"))
        );
        let many = layout("default", Some("192.0.2.7"));
        assert_eq!(many.environment(Part::Agent)[0], "GANTRY_LISTEN=0.0.0.0:7071");
        assert_eq!(many.scheduler(), "192.0.2.7:7070");
    }

    #[test]
    fn two_clusters_on_one_host_have_different_names() {
        assert_eq!(layout("default", None).container(Part::Agent), "gantry-agent");
        assert_eq!(layout("test", None).container(Part::Agent), "gantry-test-agent");
    }
}
