//! What Gantry knows and what it wants, as plain values.
//!
//! Three kinds of things, never mixed in one type:
//! a **spec** is what a person asked for, a **record** is what the scheduler stores, a **status** is
//! what somebody saw and nobody stores. A [`Snapshot`] holds all three at one moment; decisions are
//! pure functions of it. There is no clock, no random source and no IO in this crate.

mod backup;
mod container;
mod facts;
mod health;
mod ids;
mod lineage;
mod membership;
mod node;
mod placement;
mod port;
mod record;
mod registry;
mod replica;
mod revision;
mod route;
mod service;
mod snapshot;
mod spec;
mod stack;
mod status;
mod time;
mod volume_move;

/// Conversions between these types and the messages of `proto/`.
pub mod wire;

pub use backup::{Backup, BadBackup};
pub use container::{
    Container, Device, Healthcheck, LogConfig, Mount, MountSource, NetworkMode, Resources, RestartPolicy,
    Ulimit,
};
pub use facts::{Ambiguous, HostFacts, Interface, RouteFact};
pub use health::Health;
pub use ids::{BadName, ClusterId, NodeId, ReplicaId, ServiceId, StackName};
pub use lineage::{Lineage, Stale, Term};
pub use membership::{Denied, JoinToken, TokenOver};
pub use node::{Availability, Host, Node, NodeRole, Proxy};
pub use placement::{ATTRIBUTES, Attribute, BadPlacement, Constraint, Mode, Placement, architecture};
pub use port::{AppProtocol, Port, Protocol, PublishMode};
pub use record::{Cluster, Event, Key, Network, NodeSegment, Record, Secret, Severity, Volume};
pub use registry::{DEFAULT_REGISTRY, registry_of};
pub use replica::{Drain, Goal, Outcome, Replica};
pub use revision::{Revision, Template};
pub use route::{
    Balance, Certificate, HashOn, Policy, Route, RouteFilters, UpstreamProtocol, is_host_pattern, is_token,
};
pub use service::{Reached, Service};
pub use snapshot::{Change, Map, Snapshot};
pub use spec::{
    Condition, Dependency, EndpointMode, PullPolicy, ServiceNetwork, ServiceSpec, UpdateOrder, UpdatePolicy,
};
pub use stack::{NetworkSpec, Stack, StackSpec, VolumeSpec};
pub use status::{BrokenPath, ImageCopy, NodeStatus, Phase, ReplicaStatus, TableVersion, Verdict};
pub use time::Timestamp;
pub use volume_move::{MoveStage, VolumeCopy, VolumeMove};

pub use ipnet::Ipv4Net;
