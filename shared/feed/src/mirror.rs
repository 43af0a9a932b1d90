use std::collections::BTreeMap;

use gantry_api::cluster::v1::{Node, Replica, Service, Stack};
use gantry_api::feed::v1::object::Object as Content;
use gantry_api::feed::v1::watch_response::Message;
use gantry_api::feed::v1::{Key, Kind, Object, WatchResponse};

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
}

impl Mirror {
    /// Takes one message in.
    pub fn take(&mut self, response: WatchResponse) {
        match response.message {
            Some(Message::State(state)) => {
                *self = Self::default();
                state.objects.into_iter().for_each(|object| self.insert(object));
            }
            Some(Message::Delta(delta)) => {
                delta.upserts.into_iter().for_each(|object| self.insert(object));
                delta.removals.iter().for_each(|key| self.remove(key));
            }
            None => {}
        }
        self.revision = response.revision;
    }

    fn insert(&mut self, object: Object) {
        let Some(key) = object.key else { return };
        match object.object {
            Some(Content::Stack(stack)) => drop(self.stacks.insert(key.id, stack)),
            Some(Content::Service(service)) => drop(self.services.insert(key.id, service)),
            Some(Content::Replica(replica)) => drop(self.replicas.insert(key.id, replica)),
            Some(Content::Node(node)) => drop(self.nodes.insert(key.id, node)),
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
            Kind::Unspecified => {}
        }
    }
}
