//! The world from the feed's messages. An object that makes no sense is left out: nothing is judged by it.

use std::time::Duration;

use gantry_api::feed::v1 as wire;
use gantry_feed::Mirror;
use gantry_model::wire::{read_end, read_time};
use gantry_model::{BadName, HealPolicy, NodeId, ReplicaId, Timestamp};

use super::{Case, Condition, Course, Hearing, PastRepair, Presence, RepairKind, Snapshot};

/// The world as `mirror` has it.
pub fn read(mirror: &Mirror) -> Snapshot {
    Snapshot {
        revision: mirror.revision,
        cases: kept("the health of a replica", mirror.cases.values(), |case| {
            read_case(case).map(|read| (read.replica.clone(), read))
        }),
        nodes: kept("a node's heartbeats", mirror.hearings.values(), |hearing| {
            Ok((NodeId::new(&hearing.node_id)?, read_hearing(hearing)))
        }),
        services: kept("the healing of a service", mirror.courses.values(), |course| {
            Ok((course.service.parse()?, read_course(course)))
        }),
    }
}

fn kept<'a, M: 'a, R: FromIterator<T>, T>(
    what: &str,
    messages: impl Iterator<Item = &'a M>,
    read: impl Fn(&'a M) -> Result<T, BadName>,
) -> R {
    let each = |message| match read(message) {
        Ok(read) => Some(read),
        Err(bad) => {
            tracing::debug!(%bad, "cannot read {what}");
            None
        }
    };
    messages.filter_map(each).collect()
}

fn node(id: &str) -> Result<Option<NodeId>, BadName> {
    if id.is_empty() { Ok(None) } else { NodeId::new(id).map(Some) }
}

fn read_case(case: &wire::Case) -> Result<Case, BadName> {
    let time = |time: Option<prost_types::Timestamp>| time.map(read_time);
    let created_at = time(case.created_at).unwrap_or_default();
    Ok(Case {
        replica: ReplicaId::new(&case.replica_id)?,
        service: case.service.parse()?,
        slot: case.slot,
        revision: case.revision,
        node: node(&case.node_id)?,
        reported: case.reported,
        wanted: case.wanted,
        in_repair: case.in_repair,
        ready: case.ready,
        ready_since: time(case.ready_since).unwrap_or(created_at),
        condition: match case.condition() {
            wire::Condition::Unspecified => Condition::Unknown,
            wire::Condition::Starting => Condition::Starting,
            wire::Condition::Healthy => Condition::Healthy,
            wire::Condition::Failing => Condition::Failing,
            wire::Condition::Unhealthy => Condition::Unhealthy,
            wire::Condition::Restarting => Condition::Restarting,
            wire::Condition::Failed => Condition::Failed,
            wire::Condition::AtRest => Condition::AtRest,
        },
        condition_since: time(case.condition_since).unwrap_or(created_at),
        message: case.message.clone(),
        ends: case.ends.iter().map(read_end).collect(),
        failed_requests: case.failed_requests,
        requests: case.requests,
    })
}

fn read_hearing(hearing: &wire::Hearing) -> Hearing {
    Hearing {
        name: hearing.name.clone(),
        connected: hearing.connected,
        silent_since: hearing.silent_since.map(read_time),
        held: hearing.held,
        proxy_heard: hearing.proxy_heard,
        restarting_since: hearing.restarting_since.map(read_time),
        flaps: hearing.flaps,
        returned_at: hearing.returned_at.map(read_time),
        presence: match hearing.presence() {
            wire::Presence::Unspecified | wire::Presence::Ready => Presence::Ready,
            wire::Presence::Suspect => Presence::Suspect,
            wire::Presence::Lost => Presence::Lost,
        },
        schedulable: hearing.schedulable,
        quarantined_since: hearing.quarantined_since.map(read_time),
    }
}

fn read_course(course: &wire::Course) -> Course {
    let default = HealPolicy::default();
    let window = course.window.and_then(|window| Duration::try_from(window).ok());
    let mut repairs: Vec<_> = course.repairs.iter().filter_map(read_repair).collect();
    repairs.sort_by_key(|repair| repair.at);
    Course {
        wanted: course.wanted,
        revision: course.revision,
        changing: course.changing,
        finished: course.finished,
        progressed_at: course.progressed_at.map(read_time).unwrap_or_default(),
        restart_limit: if course.restart_limit == 0 { default.restart_limit } else { course.restart_limit },
        window: window.filter(|window| !window.is_zero()).unwrap_or(default.window),
        disabled: course.disabled,
        depends_on: course.depends_on.iter().filter_map(|name| name.parse().ok()).collect(),
        repairs,
    }
}

fn read_repair(repair: &wire::PastRepair) -> Option<PastRepair> {
    Some(PastRepair {
        at: repair.at.map_or(Timestamp::default(), read_time),
        replica: ReplicaId::new(&repair.replica_id).ok()?,
        slot: repair.slot,
        node: node(&repair.node_id).ok()?,
        kind: match repair.kind() {
            wire::RepairKind::Restart => RepairKind::Restart,
            wire::RepairKind::Replace => RepairKind::Replace,
            wire::RepairKind::Unspecified => return None,
        },
        reason: repair.reason.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_is_kept_and_what_cannot_is_left_out() {
        let mut mirror = Mirror { revision: 7, ..Mirror::default() };
        let stamp = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let good = wire::Case {
            replica_id: "r1".into(),
            service: "shop/web".into(),
            slot: 2,
            node_id: "n1".into(),
            condition: wire::Condition::Unhealthy.into(),
            condition_since: stamp(9),
            created_at: stamp(3),
            ..wire::Case::default()
        };
        mirror.cases.insert("r2".into(), wire::Case { service: "?".into(), ..good.clone() });
        mirror.cases.insert("r1".into(), good);
        let repair = wire::PastRepair {
            at: stamp(4),
            replica_id: "r1".into(),
            slot: 2,
            kind: wire::RepairKind::Replace.into(),
            ..wire::PastRepair::default()
        };
        let course =
            wire::Course { service: "shop/web".into(), repairs: vec![repair], ..wire::Course::default() };
        mirror.courses.insert("shop/web".into(), course);
        let world = read(&mirror);
        assert_eq!((world.revision, world.cases.len()), (7, 1));
        let case = &world.cases[&ReplicaId::new("r1").unwrap()];
        assert_eq!((case.condition, case.condition_since.as_millis()), (Condition::Unhealthy, 9_000));
        assert_eq!(case.ready_since.as_millis(), 3_000, "where nothing is said, since it was made");
        let course = &world.services[&"shop/web".parse().unwrap()];
        assert_eq!((course.restart_limit, course.window), (3, Duration::from_mins(10)));
        assert_eq!((course.repairs[0].kind, &course.repairs[0].node), (RepairKind::Replace, &None));
    }
}
