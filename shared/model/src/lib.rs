//! What Gantry knows and what it wants, as plain values.
//!
//! Three kinds of things, never mixed in one type:
//! a **spec** is what a person asked for, a **record** is what the scheduler stores, a **status** is
//! what somebody saw and nobody stores. A [`Snapshot`] holds all three at one moment; decisions are
//! pure functions of it. There is no clock, no random source and no IO in this crate.

mod autoscale;
mod backup;
mod container;
mod end;
mod facts;
mod finding;
mod heal;
mod health;
mod ids;
mod lineage;
mod membership;
mod node;
mod placement;
mod port;
mod probe;
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

/// Alerts: what people want to be told, whom to tell, and what fired.
pub mod alert;
/// Conversions between these types and the messages of `proto/`.
pub mod wire;

pub use autoscale::{
    Autoscale, AutoscaleFault, AutoscaleMode, BadRecurrence, BadSelector, MetricTarget, Recurrence,
    ScheduleEntry, Selector, read_series,
};
pub use backup::{Backup, BadBackup};
pub use container::{
    Container, Device, Healthcheck, Hook, LogConfig, Mount, MountSource, NetworkMode, Resources,
    RestartPolicy, Ulimit,
};
pub use facts::{Ambiguous, HostFacts, Interface, RouteFact};
pub use finding::{Conclusion, Finding};
pub use heal::{Checked, PastRepair, Repair, RepairKind, Stamp};
pub use health::Health;
pub use ids::{BadName, ClusterId, NodeId, ReplicaId, ServiceId, StackName};
pub use lineage::{Lineage, Stale, Term};
pub use membership::{Denied, JoinToken, TokenOver};
pub use node::{Availability, Host, Node, NodeRole, Proxy};
pub use placement::{
    ATTRIBUTES, Attribute, BadPlacement, Constraint, Mode, NO_ROOM, Placement, architecture,
};
pub use port::{AppProtocol, Port, Protocol, PublishMode};
pub use probe::{Check, Checks, HealPolicy, HealthProbe, is_probe_header, is_probe_path, only_port};
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
pub use status::{BrokenPath, End, ImageCopy, NodeStatus, Phase, ReplicaStatus, TableVersion, Verdict};
pub use time::Timestamp;
pub use volume_move::{MoveStage, VolumeCopy, VolumeMove};

pub use ipnet::Ipv4Net;
