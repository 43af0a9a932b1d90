//! Status, hosts and lineages as messages.

use gantry_api::Invalid;
use gantry_api::agent::v1 as agent;
use gantry_api::cluster::v1 as cluster;
use gantry_api::node::v1 as node;

use super::parts::{read_time, write_time};
use super::ports::{read_ports, write_ports};
use crate::health::Health;
use crate::ids::{ClusterId, ReplicaId};
use crate::lineage::{Lineage, Term};
use crate::node::Host;
use crate::replica::Goal;
use crate::status::{End, Phase, ReplicaStatus, TableVersion};

/// Reads what an agent sees of a replica.
pub fn read_replica_status(status: node::ReplicaStatus) -> Result<(ReplicaId, ReplicaStatus), Invalid> {
    use cluster::Phase as P;
    let id = ReplicaId::new(&status.replica_id).map_err(|bad| Invalid::new("replica_id", bad.to_string()))?;
    let phase = match P::try_from(status.phase) {
        Ok(P::Preparing | P::Pending | P::Unspecified) => Phase::Preparing,
        Ok(P::Starting) => Phase::Starting,
        Ok(P::Running) => Phase::Running,
        Ok(P::Restarting) => Phase::Restarting,
        Ok(P::Paused) => Phase::Paused,
        Ok(P::Exited) => Phase::Exited,
        Ok(P::Failed) => Phase::Failed,
        Ok(P::Stopping) => Phase::Stopping,
        Ok(P::Removed) => Phase::Removed,
        Err(_) => return Err(Invalid::new("phase", "is not known to this version")),
    };
    let health = match agent::Health::try_from(status.health) {
        Ok(agent::Health::Starting) => Health::Starting,
        Ok(agent::Health::Healthy) => Health::Healthy,
        Ok(agent::Health::Unhealthy) => Health::Unhealthy,
        Ok(agent::Health::Unspecified) | Err(_) => Health::None,
    };
    let read = ReplicaStatus {
        phase,
        container_id: status.container_id,
        message: status.message,
        exit_code: status.exit_code,
        oom_killed: status.oom_killed,
        restarts: status.restarts,
        health,
        started_at: status.started_at.map(read_time),
        finished_at: status.finished_at.map(read_time),
        restart_sequence: status.restart_sequence,
        ports: read_ports(&status.ports)?,
        probe_ready: status.probe_ready,
        probe_message: status.probe_message,
        ends: status.ends.into_iter().map(read_end).collect(),
    };
    Ok((id, read))
}

/// Writes what an agent sees of a replica.
pub fn write_replica_status(id: &ReplicaId, status: &ReplicaStatus) -> node::ReplicaStatus {
    node::ReplicaStatus {
        replica_id: id.to_string(),
        phase: write_phase(status.phase).into(),
        container_id: status.container_id.clone(),
        message: status.message.clone(),
        exit_code: status.exit_code,
        oom_killed: status.oom_killed,
        restarts: status.restarts,
        health: write_health(status.health).into(),
        started_at: status.started_at.map(write_time),
        finished_at: status.finished_at.map(write_time),
        restart_sequence: status.restart_sequence,
        ports: write_ports(&status.ports),
        probe_ready: status.probe_ready,
        probe_message: status.probe_message.clone(),
        ends: status.ends.iter().map(write_end).collect(),
    }
}

fn read_end(end: node::ReplicaEnd) -> End {
    End {
        at: end.at.map(read_time).unwrap_or_default(),
        exit_code: end.exit_code,
        oom_killed: end.oom_killed,
        last_lines: end.last_lines,
        asked: end.asked,
        killed_after_grace: end.killed_after_grace,
        heard_at: None,
    }
}

fn write_end(end: &End) -> node::ReplicaEnd {
    node::ReplicaEnd {
        at: Some(write_time(end.at)),
        exit_code: end.exit_code,
        oom_killed: end.oom_killed,
        last_lines: end.last_lines.clone(),
        asked: end.asked,
        killed_after_grace: end.killed_after_grace,
    }
}

pub(super) fn write_phase(phase: Phase) -> cluster::Phase {
    match phase {
        Phase::Preparing => cluster::Phase::Preparing,
        Phase::Starting => cluster::Phase::Starting,
        Phase::Running => cluster::Phase::Running,
        Phase::Restarting => cluster::Phase::Restarting,
        Phase::Paused => cluster::Phase::Paused,
        Phase::Exited => cluster::Phase::Exited,
        Phase::Failed => cluster::Phase::Failed,
        Phase::Stopping => cluster::Phase::Stopping,
        Phase::Removed => cluster::Phase::Removed,
    }
}

/// Writes a health.
pub fn write_health(health: Health) -> agent::Health {
    match health {
        Health::None => agent::Health::Unspecified,
        Health::Starting => agent::Health::Starting,
        Health::Healthy => agent::Health::Healthy,
        Health::Unhealthy => agent::Health::Unhealthy,
    }
}

/// Writes a goal.
pub fn write_goal(goal: Goal) -> cluster::Goal {
    match goal {
        Goal::Run => cluster::Goal::Run,
        Goal::Drain => cluster::Goal::Drain,
        Goal::Stop => cluster::Goal::Stop,
    }
}

/// Reads a host.
pub fn read_host(host: agent::Host) -> Host {
    Host {
        hostname: host.hostname,
        operating_system: host.operating_system,
        os: host.os,
        architecture: host.architecture,
        kernel: host.kernel,
        engine_version: host.engine_version,
        api_version: host.api_version,
        cpus: host.cpus,
        memory: host.memory,
        engine_labels: host.engine_labels,
        storage_driver: host.storage_driver,
        cgroup_version: host.cgroup_version,
        agent_version: host.agent_version,
    }
}

/// Writes a host. What changes from moment to moment (counts) is not part of the model's host.
pub fn write_host(host: &Host) -> agent::Host {
    agent::Host {
        hostname: host.hostname.clone(),
        operating_system: host.operating_system.clone(),
        os: host.os.clone(),
        architecture: host.architecture.clone(),
        kernel: host.kernel.clone(),
        engine_version: host.engine_version.clone(),
        api_version: host.api_version.clone(),
        cpus: host.cpus,
        memory: host.memory,
        engine_labels: host.engine_labels.clone(),
        storage_driver: host.storage_driver.clone(),
        cgroup_version: host.cgroup_version,
        agent_version: host.agent_version.clone(),
        ..agent::Host::default()
    }
}

/// Reads a lineage.
pub fn read_lineage(lineage: node::Lineage) -> Result<Lineage, Invalid> {
    Ok(Lineage {
        cluster: ClusterId::new(&lineage.cluster_id)
            .map_err(|bad| Invalid::new("lineage.cluster_id", bad.to_string()))?,
        epoch: lineage.epoch,
        terms: lineage
            .terms
            .into_iter()
            .map(|term| Term { id: term.id, first_revision: term.first_revision })
            .collect(),
        revision: lineage.revision,
    })
}

/// Writes a lineage.
pub fn write_lineage(lineage: &Lineage) -> node::Lineage {
    node::Lineage {
        cluster_id: lineage.cluster.to_string(),
        epoch: lineage.epoch,
        terms: lineage
            .terms
            .iter()
            .map(|term| node::Term { id: term.id.clone(), first_revision: term.first_revision })
            .collect(),
        revision: lineage.revision,
    }
}

/// Reads a table's version; an absent one is the oldest.
pub fn read_table_version(version: Option<node::TableVersion>) -> TableVersion {
    version.map_or_else(TableVersion::default, |version| TableVersion {
        revision: version.revision,
        sequence: version.sequence,
    })
}

/// Writes a table's version.
pub fn write_table_version(version: TableVersion) -> node::TableVersion {
    node::TableVersion { revision: version.revision, sequence: version.sequence }
}
