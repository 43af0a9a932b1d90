//! Decisions as values.
//!
//! Here is what can be decided, and how each decision reads. What one changes is in `changes`, what people
//! are told of it in `event`.

mod changes;
mod event;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use gantry_model::{NodeId, NodeSegment, Outcome, RepairKind, ReplicaId, ServiceId, StackName};

use super::moves::MoveStep;

/// The reason of an event that says that a count was changed by the load.
pub const SCALED: &str = "Autoscaled";

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    /// A service is to have another number of replicas, by its load: `3 → 5: cpu 91% of 70% target over 3 s`.
    Scale { service: ServiceId, replicas: u32, why: String },
    /// A replica is wanted in a slot; of the newest revision, where none is named.
    Create { service: ServiceId, slot: u32, revision: Option<u64>, why: String },
    /// The slots of a service that has one replica on every node.
    AssignSlots { service: ServiceId, slots: BTreeMap<NodeId, u32> },
    /// A replica gets its node and its addresses, by key of the network.
    Place {
        replica: ReplicaId,
        node: NodeId,
        addresses: BTreeMap<String, Ipv4Addr>,
        segments: BTreeMap<String, NodeSegment>,
        why: String,
    },
    /// Ports of a service for which its spec names no number get one.
    AssignPorts { service: ServiceId, ports: BTreeMap<String, u16> },
    /// A service gets its own address on a network.
    GiveAddress { stack: StackName, key: String, service: ServiceId, address: Ipv4Addr },
    /// A service needs its addresses on a network no more.
    ReleaseAddress { stack: StackName, key: String, service: String },
    /// A node gets its own part of a network on which it has no replica.
    JoinNetwork { stack: StackName, key: String, node: NodeId, segment: NodeSegment },
    /// A node's part of a network is taken back.
    LeaveNetwork { stack: StackName, key: String, node: NodeId },
    /// A replica cannot be placed.
    Wait { replica: ReplicaId, reason: String },
    /// What kept a replica from going elsewhere is over, or it need not go any more.
    Resume { replica: ReplicaId },
    /// A replica is to go elsewhere, so that nodes have as much to do as others.
    Leave { replica: ReplicaId },
    /// A replica that was to go elsewhere stays.
    Stay { replica: ReplicaId, why: String },
    /// Nobody waits for a proxy any more: its node is lost.
    ForgetProxy { instance: String },
    /// A replica gets no new work.
    Drain { replica: ReplicaId, why: String },
    /// A replica is to end.
    Stop { replica: ReplicaId, why: String },
    /// A replica is gone.
    Forget { replica: ReplicaId },
    /// A replica gets no new work, until it has been restarted.
    Pause { replica: ReplicaId },
    /// A replica's container is restarted in place.
    Restart { replica: ReplicaId, sequence: u64 },
    /// A watchdog has found that a replica needs a repair, for a reason in one word.
    Repair { replica: ReplicaId, kind: RepairKind, reason: String, message: String },
    /// A replica that is being repaired is restarted in place.
    RestartInPlace { replica: ReplicaId, why: String },
    /// A replica needs no further repair.
    Healed { replica: ReplicaId, why: String },
    /// The repair of a replica has not helped.
    NotHealed { replica: ReplicaId, why: String },
    /// A node gets nothing new, because too much has failed there.
    Quarantine { node: NodeId, reason: String, message: String },
    /// A node is trusted again.
    EndQuarantine { node: NodeId, reason: String, message: String },
    /// An update has begun to replace replicas of a service.
    BeginBatch { service: ServiceId },
    /// A replica that runs once has ended.
    Complete { replica: ReplicaId, outcome: Outcome },
    /// An old revision is not needed any more.
    ForgetRevision { service: ServiceId, number: u64 },
    /// The last replica of a removed service is gone.
    ForgetService { service: ServiceId },
    /// Nothing uses a network any more.
    ForgetNetwork { stack: StackName, key: String },
    /// A volume and what is in it are to go.
    RemoveVolume { stack: StackName, key: String },
    /// A volume's record is not needed any more.
    ForgetVolume { stack: StackName, key: String },
    /// The move of a volume goes on.
    Move { stack: StackName, key: String, step: MoveStep },
    /// All of a removed stack is gone.
    ForgetStack { stack: StackName },
}

impl Action {
    /// The kind of decision in one word, as events have it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Scale { .. } => SCALED,
            Self::Create { .. } => "Created",
            Self::Place { .. } => "Placed",
            Self::AssignPorts { .. } => "PortsChosen",
            Self::GiveAddress { .. } => "AddressGiven",
            Self::ReleaseAddress { .. } => "AddressReleased",
            Self::JoinNetwork { .. } => "NetworkJoined",
            Self::LeaveNetwork { .. } => "NetworkLeft",
            Self::Pause { .. } => "Pausing",
            Self::Wait { .. } => "Pending",
            Self::AssignSlots { .. } => "NodesChosen",
            Self::Resume { .. } => "Resumed",
            Self::Leave { .. } => "Moving",
            Self::Stay { .. } => "Staying",
            Self::ForgetProxy { .. } => "ProxyForgotten",
            Self::Drain { .. } => "Draining",
            Self::Stop { .. } => "Stopping",
            Self::Forget { .. } => "Removed",
            Self::Restart { .. } => "Restarting",
            Self::Repair { reason, .. }
            | Self::Quarantine { reason, .. }
            | Self::EndQuarantine { reason, .. } => reason,
            Self::RestartInPlace { .. } => "Restarted",
            Self::Healed { .. } => "Healed",
            Self::NotHealed { .. } => "NotHealed",
            Self::BeginBatch { .. } => "Updating",
            Self::Complete { .. } => "Completed",
            Self::ForgetRevision { .. } => "RevisionRemoved",
            Self::ForgetService { .. } => "ServiceRemoved",
            Self::ForgetNetwork { .. } => "NetworkRemoved",
            Self::RemoveVolume { .. } => "VolumeRemoving",
            Self::ForgetVolume { .. } => "VolumeForgotten",
            Self::Move { step, .. } => step.reason(),
            Self::ForgetStack { .. } => "StackRemoved",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scale { service, why, .. } => write!(f, "scale {service} {why}"),
            Self::Create { service, slot, why, .. } => write!(f, "create replica {slot} of {service}: {why}"),
            Self::Place { replica, node, why, .. } => write!(f, "place {replica} on {node}: {why}"),
            Self::AssignPorts { service, ports } => {
                let ports: Vec<_> = ports.iter().map(|(port, number)| format!("{number}->{port}")).collect();
                write!(f, "the ports of {service} that were left to choose: {}", ports.join(", "))
            }
            Self::GiveAddress { key, service, address, .. } => {
                write!(f, "{service} has the address {address} on its network {key}")
            }
            Self::ReleaseAddress { stack, key, service } => {
                write!(f, "{stack}/{service} needs its address on the network {key} no more")
            }
            Self::JoinNetwork { stack, key, node, segment } => {
                write!(f, "{node} takes part in the network {stack}/{key} as {}", segment.gateway)
            }
            Self::LeaveNetwork { stack, key, node } => {
                write!(f, "{node} takes part in the network {stack}/{key} no more")
            }
            Self::Pause { replica } => write!(f, "take {replica} out of the tables, to restart it"),
            Self::Wait { replica, reason } => write!(f, "{replica} waits: {reason}"),
            Self::AssignSlots { service, slots } => write!(f, "{service} runs on {} nodes", slots.len()),
            Self::Resume { replica } => write!(f, "{replica} waits no more"),
            Self::Leave { replica } => write!(f, "{replica} is to move"),
            Self::Stay { replica, why } => write!(f, "{replica} stays: {why}"),
            Self::ForgetProxy { instance } => write!(f, "forget the proxy {instance}: its node is lost"),
            Self::Drain { replica, why } => write!(f, "drain {replica}: {why}"),
            Self::Stop { replica, why } => write!(f, "stop {replica}: {why}"),
            Self::Forget { replica } => write!(f, "forget {replica}: its container is gone"),
            Self::Restart { replica, .. } => write!(f, "restart {replica}, as asked"),
            Self::Repair { message, .. }
            | Self::Quarantine { message, .. }
            | Self::EndQuarantine { message, .. } => f.write_str(message),
            Self::RestartInPlace { replica, why } => write!(f, "restart {replica} in place: {why}"),
            Self::Healed { replica, why } => write!(f, "{replica} is repaired: {why}"),
            Self::NotHealed { replica, why } => write!(f, "the repair of {replica} did not help: {why}"),
            Self::BeginBatch { service } => write!(f, "update the next replicas of {service}"),
            Self::Complete { replica, outcome } => {
                write!(f, "{replica} ended with exit code {}", outcome.exit_code)
            }
            Self::ForgetRevision { service, number } => write!(f, "forget revision {number} of {service}"),
            Self::ForgetService { service } => write!(f, "{service} is gone"),
            Self::ForgetNetwork { stack, key } => {
                write!(f, "forget the network {stack}/{key}: nothing uses it")
            }
            Self::RemoveVolume { stack, key } => {
                write!(f, "remove the volume {stack}/{key} and what is in it")
            }
            Self::Move { stack, key, step } => write!(f, "the volume {stack}/{key} {step}"),
            Self::ForgetVolume { stack, key } => write!(f, "forget the volume {stack}/{key}"),
            Self::ForgetStack { stack } => write!(f, "the stack {stack} is gone"),
        }
    }
}
