//! Checks against servers that are there. Whole fleets whose replicas are checked are in `managed::tests`.

mod asks;

use gantry_api::agent::v1::ContainerState as State;
use gantry_model::{Container, Goal, Health, ReplicaId, Timestamp};

use crate::engine::{Attachment, Observed};
use crate::managed::Assignment;

/// A replica that is not checked, at 10.1.2.3.
pub fn assignment() -> Assignment {
    Assignment {
        replica: ReplicaId::new("r1").unwrap(),
        service: "s/web".parse().unwrap(),
        slot: 1,
        goal: Goal::Run,
        name: "s-web-1-r1".into(),
        container: Container::default(),
        image_digest: String::new(),
        networks: vec![Attachment {
            network: "s-default".into(),
            aliases: vec![],
            ipv4_address: Some("10.1.2.3".into()),
            mac_address: None,
        }],
        ports: vec![],
        restart_sequence: 0,
        restart_asked_at: None,
        completed: false,
        readiness: None,
        liveness: None,
        published_ports: vec![],
        exclusive: false,
        repair_grace: None,
    }
}

/// Its container, which runs.
pub fn observed() -> Observed {
    Observed {
        id: "c1".into(),
        replica: ReplicaId::new("r1").unwrap(),
        image_id: String::new(),
        state: State::Running,
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
        restart_count: 0,
        health: Health::None,
        started_at: Some(Timestamp::from_millis(1_000)),
        finished_at: None,
        ports: vec![],
    }
}
