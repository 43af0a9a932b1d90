//! The way to a cluster: to its scheduler, and to the agents of its nodes.

use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::alert_service_client::AlertServiceClient;
use gantry_api::cluster::v1::autoscale_service_client::AutoscaleServiceClient;
use gantry_api::cluster::v1::cluster_service_client::ClusterServiceClient;
use gantry_api::cluster::v1::event_service_client::EventServiceClient;
use gantry_api::cluster::v1::membership_service_client::MembershipServiceClient;
use gantry_api::cluster::v1::node_service_client::NodeServiceClient;
use gantry_api::cluster::v1::placement_service_client::PlacementServiceClient;
use gantry_api::cluster::v1::replica_service_client::ReplicaServiceClient;
use gantry_api::cluster::v1::resource_service_client::ResourceServiceClient;
use gantry_api::cluster::v1::route_service_client::RouteServiceClient;
use gantry_api::cluster::v1::service_service_client::ServiceServiceClient;
use gantry_api::cluster::v1::stack_service_client::StackServiceClient;
use gantry_api::cluster::v1::traffic_service_client::TrafficServiceClient;
use gantry_api::cluster::v1::usage_service_client::UsageServiceClient;
use gantry_boot::connect;
use gantry_identity::Role;
use tonic::transport::Channel;

use crate::context::{Context, Contexts};
use crate::failure::{Failure, Result};

/// A stack's whole state comes as one message.
const MAX_MESSAGE: usize = 64 << 20;

/// A connection to a cluster.
pub struct Cluster {
    /// The context that it was made with.
    pub context: Context,
    channel: Channel,
}

impl Cluster {
    /// Connects with the chosen context. `host` replaces its address.
    pub async fn connect(name: Option<&str>, host: Option<&str>) -> Result<Self> {
        let mut context = Contexts::open()?.choose(name)?;
        if let Some(host) = host {
            host.clone_into(&mut context.address);
            context.local = false;
        }
        Self::with(context).await
    }

    /// Connects with that context.
    pub async fn with(context: Context) -> Result<Self> {
        let channel = connect(&context.address, Role::Scheduler, "", &context.bundle()).await?;
        Ok(Self { context, channel })
    }

    /// The cluster as a whole.
    pub fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
    }

    /// Stacks.
    pub fn stacks(&self) -> StackServiceClient<Channel> {
        StackServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Services.
    pub fn services(&self) -> ServiceServiceClient<Channel> {
        ServiceServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Replicas.
    pub fn replicas(&self) -> ReplicaServiceClient<Channel> {
        ReplicaServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// What is published where.
    pub fn routes(&self) -> RouteServiceClient<Channel> {
        RouteServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// The traffic of services.
    pub fn traffic(&self) -> TrafficServiceClient<Channel> {
        TrafficServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// What services use.
    pub fn usage(&self) -> UsageServiceClient<Channel> {
        UsageServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Nodes.
    pub fn nodes(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone())
    }

    /// Join tokens.
    pub fn membership(&self) -> MembershipServiceClient<Channel> {
        MembershipServiceClient::new(self.channel.clone())
    }

    /// Moves between nodes.
    pub fn placements(&self) -> PlacementServiceClient<Channel> {
        PlacementServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Volumes, networks and images.
    pub fn resources(&self) -> ResourceServiceClient<Channel> {
        ResourceServiceClient::new(self.channel.clone())
    }

    /// Events.
    pub fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone())
    }

    /// Alerts.
    pub fn alerts(&self) -> AlertServiceClient<Channel> {
        AlertServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Scaling by load.
    pub fn autoscale(&self) -> AutoscaleServiceClient<Channel> {
        AutoscaleServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// A connection to the agent of a node; of the only one, if none is named.
    pub async fn agent(&self, name: Option<&str>) -> Result<Channel> {
        let node = self.node(name).await?;
        let own = self.context.address.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
        // A node for its own machine only says no address; it is where the scheduler is.
        let host = node.addresses.first().map_or(own, String::as_str);
        let address = format!("{host}:{}", node.agent_port);
        Ok(connect(&address, Role::Node, &node.id, &self.context.bundle()).await?)
    }

    async fn node(&self, name: Option<&str>) -> Result<wire::Node> {
        if let Some(name) = name {
            let request = wire::GetNodeRequest { name: name.to_owned() };
            let answer = self.nodes().get_node(request).await?.into_inner();
            return answer.node.ok_or_else(|| Failure::error("the scheduler answered without a node"));
        }
        let mut nodes = self.nodes().list_nodes(wire::ListNodesRequest {}).await?.into_inner().nodes;
        match nodes.len() {
            0 => Err(Failure::error("the cluster has no nodes")),
            1 => Ok(nodes.remove(0)),
            _ => {
                let names: Vec<_> = nodes.into_iter().map(|node| node.name).collect();
                Err(Failure::bad_input(format!("which node? --node takes one of {}", names.join(", "))))
            }
        }
    }

    /// Any node that can be asked to build an image.
    pub async fn builder(&self) -> Result<Channel> {
        let nodes = self.nodes().list_nodes(wire::ListNodesRequest {}).await?.into_inner().nodes;
        match nodes.iter().find(|node| node.ready) {
            Some(node) => self.agent(Some(&node.name)).await,
            None => {
                Err(Failure::error("no node is ready to build an image").hint("`gantry node ls` says why"))
            }
        }
    }
}
