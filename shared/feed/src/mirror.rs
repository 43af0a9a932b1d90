use std::collections::BTreeMap;
use std::time::Instant;

use gantry_api::cluster::v1::{Node, Replica, Service, Stack};
use gantry_api::feed::v1::object::Object as Content;
use gantry_api::feed::v1::watch_response::Message;
use gantry_api::feed::v1::{Case, Course, Hearing, Key, Kind, Object, WatchResponse};
use gantry_model::Timestamp;
use gantry_model::wire::read_time;

/// The scheduler's state at one moment, as a reader has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mirror {
    /// The newest stored change that is included; 0 before the first message.
    pub revision: u64,
    /// Stacks by name.
    pub stacks: BTreeMap<String, Stack>,
    /// Services by full name.
    pub services: BTreeMap<String, Service>,
    /// Replicas by id.
    pub replicas: BTreeMap<String, Replica>,
    /// Nodes by id.
    pub nodes: BTreeMap<String, Node>,
    /// The health of replicas, by their ids. For watchdogs only, as the next two.
    pub cases: BTreeMap<String, Case>,
    /// When nodes were heard, by their ids.
    pub hearings: BTreeMap<String, Hearing>,
    /// How services are healed, by full name.
    pub courses: BTreeMap<String, Course>,
    /// The scheduler's time when the newest message was sent; `None` where it does not say.
    pub now: Option<Timestamp>,
    /// When the newest message came, by this machine's clock that only goes forward.
    pub heard: Option<Instant>,
    /// The feed is open. While it is not, this is what was true when it ended.
    pub connected: bool,
}

impl Mirror {
    /// Takes one message in.
    pub fn take(&mut self, response: WatchResponse) {
        match response.message {
            Some(Message::State(state)) => {
                *self = Self { heard: self.heard, connected: self.connected, ..Self::default() };
                state.objects.into_iter().for_each(|object| self.insert(object));
            }
            Some(Message::Delta(delta)) => {
                delta.upserts.into_iter().for_each(|object| self.insert(object));
                delta.removals.iter().for_each(|key| self.remove(key));
            }
            None => {}
        }
        self.revision = response.revision;
        self.now = response.now.map(read_time);
    }

    fn insert(&mut self, object: Object) {
        let Some(key) = object.key else { return };
        match object.object {
            Some(Content::Stack(stack)) => drop(self.stacks.insert(key.id, stack)),
            Some(Content::Service(service)) => drop(self.services.insert(key.id, service)),
            Some(Content::Replica(replica)) => drop(self.replicas.insert(key.id, replica)),
            Some(Content::Node(node)) => drop(self.nodes.insert(key.id, node)),
            Some(Content::Case(case)) => drop(self.cases.insert(key.id, case)),
            Some(Content::Hearing(hearing)) => drop(self.hearings.insert(key.id, hearing)),
            Some(Content::Course(course)) => drop(self.courses.insert(key.id, course)),
            // A kind of object that a newer scheduler knows.
            None => {}
        }
    }

    fn remove(&mut self, key: &Key) {
        match key.kind() {
            Kind::Stack => drop(self.stacks.remove(&key.id)),
            Kind::Service => drop(self.services.remove(&key.id)),
            Kind::Replica => drop(self.replicas.remove(&key.id)),
            Kind::Node => drop(self.nodes.remove(&key.id)),
            Kind::Case => drop(self.cases.remove(&key.id)),
            Kind::Hearing => drop(self.hearings.remove(&key.id)),
            Kind::Course => drop(self.courses.remove(&key.id)),
            Kind::Unspecified => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::feed::v1::{Delta, State};

    use super::*;

    fn case(id: &str, ready: bool) -> Object {
        Object {
            key: Some(Key { kind: Kind::Case.into(), id: id.into() }),
            object: Some(Content::Case(Case { replica_id: id.into(), ready, ..Case::default() })),
        }
    }

    #[test]
    fn what_is_for_watchdogs_is_kept_changed_and_forgotten() {
        let mut mirror = Mirror { connected: true, ..Mirror::default() };
        let mut take = |message| {
            let now = Some(prost_types::Timestamp { seconds: 5, nanos: 0 });
            mirror.take(WatchResponse { message: Some(message), revision: 3, now });
            mirror.clone()
        };
        let all = take(Message::State(State { objects: vec![case("r1", true), case("r2", true)] }));
        assert_eq!((all.cases.len(), all.now, all.connected), (2, Some(Timestamp::from_millis(5_000)), true));
        let gone = Key { kind: Kind::Case.into(), id: "r2".into() };
        let after = take(Message::Delta(Delta { upserts: vec![case("r1", false)], removals: vec![gone] }));
        assert!(after.cases.len() == 1 && !after.cases["r1"].ready);
    }
}
