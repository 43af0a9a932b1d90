//! What a node is to run, as its agent gets it. Pure.

mod scrapes;
mod segments;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use gantry_api::agent::v1::{NetworkAttachment, RegistryCredential};
use gantry_api::node::v1::{
    Assignment, Assignments, ImageSource, Redirect, Scrape, Segment, VolumeCopy, VolumeOffer, VolumeUse,
};
use gantry_model::{
    MountSource, MoveStage, Network, NodeId, Replica, ReplicaId, Snapshot, Template, Volume, VolumeMove, wire,
};

use super::sources::{image_sources, peer};
use crate::credentials::Credentials;
use crate::decide::{apart, repair_grace, vip_range};

/// What an agent was told last, so that only differences are sent.
pub struct Told {
    redirect_port: u16,
    credentials: Credentials,
    replicas: HashMap<ReplicaId, Arc<Replica>>,
    rest: Option<Rest>,
    /// What `rest` was made of: most changes are of status, and change nothing of it.
    made_of: Option<MadeOf>,
}

/// What else the agent is told is made of, besides the records at that revision.
#[derive(Debug, Default, PartialEq)]
struct MadeOf {
    revision: u64,
    apart: BTreeSet<NodeId>,
    image_sources: Vec<ImageSource>,
    credentials: Vec<RegistryCredential>,
}

/// What is sent whole with every message.
#[derive(Debug, Clone, PartialEq)]
struct Rest {
    segments: Vec<Segment>,
    volumes: Vec<VolumeUse>,
    volume_removals: Vec<String>,
    members: Vec<String>,
    image_sources: Vec<ImageSource>,
    volume_copies: Vec<VolumeCopy>,
    volume_offers: Vec<VolumeOffer>,
    credentials: Vec<RegistryCredential>,
    scrapes: Vec<Scrape>,
}

impl Rest {
    fn of(snapshot: &Snapshot, node: &NodeId, made_of: &MadeOf) -> Self {
        let MadeOf { apart, image_sources, credentials, .. } = made_of;
        Self {
            segments: segments::segments(snapshot, node, apart),
            volumes: volumes(snapshot, node),
            volume_removals: volume_removals(snapshot, node),
            members: segments::members(snapshot, node, apart),
            image_sources: image_sources.clone(),
            volume_copies: volume_copies(snapshot, node),
            volume_offers: volume_offers(snapshot, node),
            credentials: credentials.clone(),
            scrapes: scrapes::scrapes(snapshot, node),
        }
    }
}

impl Told {
    /// Nothing yet. Proxies take connections to service addresses at `redirect_port`.
    pub fn new(redirect_port: u16, credentials: Credentials) -> Self {
        Self { redirect_port, credentials, replicas: HashMap::new(), rest: None, made_of: None }
    }

    /// What the agent has to be told now; `None` if it knows everything.
    pub fn next(&mut self, snapshot: &Snapshot, node: &NodeId) -> Option<Assignments> {
        let full = self.rest.is_none();
        let made_of = MadeOf {
            revision: snapshot.revision,
            apart: apart(snapshot),
            image_sources: image_sources(snapshot, node),
            credentials: self.credentials.of_node(snapshot, node),
        };
        if !full && self.made_of.as_ref() == Some(&made_of) {
            return None;
        }
        let mut current = HashMap::new();
        let mut upserts = Vec::new();
        for replica in snapshot.replicas_on(node) {
            let known = self.replicas.get(&replica.id).is_some_and(|told| Arc::ptr_eq(told, replica));
            if !known {
                upserts.extend(assignment(snapshot, replica));
            }
            current.insert(replica.id.clone(), replica.clone());
        }
        let removals: Vec<String> =
            self.replicas.keys().filter(|id| !current.contains_key(*id)).map(ToString::to_string).collect();
        let rest = Rest::of(snapshot, node, &made_of);
        self.made_of = Some(made_of);
        if !full && upserts.is_empty() && removals.is_empty() && self.rest.as_ref() == Some(&rest) {
            return None;
        }
        self.replicas = current;
        self.rest = Some(rest.clone());
        let Rest {
            segments,
            volumes,
            volume_removals,
            members,
            image_sources,
            volume_copies,
            volume_offers,
            credentials,
            scrapes,
        } = rest;
        let redirect = vip_range(&snapshot.cluster)
            .map(|range| Redirect { range: range.to_string(), port: self.redirect_port.into() });
        Some(Assignments {
            full,
            upserts,
            removals,
            segments,
            volumes,
            volume_removals,
            redirect,
            members,
            image_sources,
            volume_copies,
            volume_offers,
            credentials,
            scrapes,
        })
    }
}

/// One replica with everything that its agent needs. `None` only if its revision is not known.
fn assignment(snapshot: &Snapshot, replica: &Replica) -> Option<Assignment> {
    let revision = snapshot.revision_of(replica)?;
    let (template, checks) = (&revision.template, &revision.checks);
    let stack = replica.service.stack();
    let mut container = template.container.clone();
    for mount in &mut container.mounts {
        if let MountSource::Volume { name: Some(key), .. } = &mut mount.source {
            let name = &snapshot.volumes.get(&(stack.clone(), key.clone()))?.name;
            key.clone_from(name);
        }
    }
    container.restart = container.restart.or(Some(gantry_model::RestartPolicy::UnlessStopped));
    container.labels.extend(labels(snapshot, replica));
    let networks: Vec<&Arc<Network>> = template
        .network_keys()
        .into_iter()
        .filter_map(|key| snapshot.networks.get(&(stack.clone(), key)))
        .collect();
    let mut spec = wire::write_container(&container);
    spec.networks = networks.iter().map(|network| attachment(replica, template, network)).collect();
    spec.ports = wire::write_ports(&template.ports);
    Some(Assignment {
        replica_id: replica.id.to_string(),
        stack: stack.to_string(),
        service: replica.service.name().to_owned(),
        slot: replica.slot,
        revision: replica.revision,
        goal: wire::write_goal(replica.goal).into(),
        container_name: replica.container_name(),
        container: Some(spec),
        image_digest: template.image_digest.clone().unwrap_or_default(),
        restart_sequence: replica.asked_restarts(),
        segments: networks.iter().map(|network| network.engine_name()).collect(),
        completed: replica.outcome.is_some(),
        readiness: checks.readiness.as_ref().map(wire::write_probe),
        liveness: checks.liveness.as_ref().map(wire::write_probe),
        published_ports: checks.published.iter().map(|port| u32::from(*port)).collect(),
        exclusive: snapshot.services.get(&replica.service).is_some_and(|service| service.spec.exclusive),
        repair_grace: repair_grace(snapshot, replica).map(wire::write_duration),
    })
}

fn attachment(replica: &Replica, template: &Template, network: &Network) -> NetworkAttachment {
    let asked = template.networks.iter().find(|asked| asked.network == network.key);
    let mut aliases = vec![replica.service.name().to_owned()];
    aliases.extend(asked.into_iter().flat_map(|asked| asked.aliases.clone()));
    let address = replica.addresses.get(&network.key);
    NetworkAttachment {
        network: network.engine_name(),
        aliases,
        ipv4_address: address.map(ToString::to_string).unwrap_or_default(),
        mac_address: address.map(|address| segments::mac(*address)).unwrap_or_default(),
    }
}

/// By these a container is known as Gantry's, and other tools group a stack. The label
/// `com.docker.compose.config-hash` is left out: it makes `docker compose up` adopt the container.
fn labels(snapshot: &Snapshot, replica: &Replica) -> BTreeMap<String, String> {
    let service = &replica.service;
    [
        ("gantry.cluster", snapshot.cluster.id.to_string()),
        ("gantry.replica", replica.id.to_string()),
        ("gantry.service", service.to_string()),
        ("gantry.slot", replica.slot.to_string()),
        ("gantry.revision", replica.revision.to_string()),
        ("com.docker.compose.project", service.stack().to_string()),
        ("com.docker.compose.service", service.name().to_owned()),
        ("com.docker.compose.container-number", replica.slot.to_string()),
        ("com.docker.compose.oneoff", "False".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn volumes(snapshot: &Snapshot, node: &NodeId) -> Vec<VolumeUse> {
    let here = |volume: &Volume| {
        volume.node.as_ref() == Some(node) || !volume.lies_on_node() && is_used(snapshot, volume, node)
    };
    let of_node = snapshot.volumes.values().filter(|volume| here(volume) && !volume.removing);
    of_node.map(|volume| volume_use(snapshot, volume)).collect()
}

fn volume_use(snapshot: &Snapshot, volume: &Volume) -> VolumeUse {
    let mut labels = volume.labels.clone();
    labels.insert("gantry.cluster".to_owned(), snapshot.cluster.id.to_string());
    labels.insert("gantry.volume".to_owned(), format!("{}/{}", volume.stack, volume.key));
    labels.insert("com.docker.compose.project".to_owned(), volume.stack.to_string());
    labels.insert("com.docker.compose.volume".to_owned(), volume.key.clone());
    VolumeUse {
        name: volume.name.clone(),
        driver: volume.driver.clone().unwrap_or_default(),
        options: volume.options.clone(),
        labels,
        external: volume.external,
    }
}

/// Whether a replica on the node uses the volume.
fn is_used(snapshot: &Snapshot, volume: &Volume, node: &NodeId) -> bool {
    let mut replicas = snapshot.replicas_on(node).filter(|replica| *replica.service.stack() == volume.stack);
    replicas.any(|replica| {
        let revision = snapshot.revision_of(replica);
        revision.is_some_and(|revision| revision.template.volume_keys().any(|key| key == volume.key))
    })
}

/// The volumes that are being copied, with their moves.
fn copied(snapshot: &Snapshot) -> impl Iterator<Item = (&Volume, &VolumeMove)> {
    snapshot.volumes.values().filter_map(|volume| {
        let moving = volume.moving.as_ref()?;
        (moving.stage == MoveStage::Copying).then_some((volume.as_ref(), moving))
    })
}

fn volume_copies(snapshot: &Snapshot, node: &NodeId) -> Vec<VolumeCopy> {
    let here = copied(snapshot).filter(|(_, moving)| moving.to == *node);
    here.map(|(volume, moving)| VolumeCopy {
        volume: Some(volume_use(snapshot, volume)),
        move_id: moving.id.clone(),
        from: snapshot.nodes.get(&moving.from).map(|node| peer(node)),
    })
    .collect()
}

fn volume_offers(snapshot: &Snapshot, node: &NodeId) -> Vec<VolumeOffer> {
    let away = copied(snapshot).filter(|(_, moving)| moving.from == *node);
    away.map(|(volume, moving)| VolumeOffer {
        name: volume.name.clone(),
        move_id: moving.id.clone(),
        to_node_id: moving.to.to_string(),
    })
    .collect()
}

fn volume_removals(snapshot: &Snapshot, node: &NodeId) -> Vec<String> {
    let unwanted = |volume: &&Arc<Volume>| match &volume.moving {
        // The old copy of a volume that has moved.
        Some(moving) => moving.stage == MoveStage::Removing && moving.from == *node,
        None => volume.removing && !volume.external && volume.node.as_ref() == Some(node),
    };
    snapshot.volumes.values().filter(unwanted).map(|volume| volume.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use gantry_model::Timestamp;
    use gantry_testkit::World;

    use super::*;
    use crate::decide::decide;

    fn world() -> World {
        let mut world = World::new(Timestamp::from_millis(1)).node("n1").service("shop/db", |service| {
            service.volume("data").alias("postgres").container(|container| {
                container.environment.insert("PASSWORD".into(), "hunter2".into());
            })
        });
        let plan = decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        world
    }

    #[test]
    fn replicas_are_checked_as_their_revision_says() {
        let mut world = World::new(Timestamp::from_millis(1))
            .node("n1")
            .service("shop/web", |service| service.port(80).port(81));
        let plan = decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        let node = NodeId::new("n1").unwrap();
        let told = |world: &World| {
            Told::new(7075, Credentials::default()).next(&world.snapshot, &node).unwrap().upserts.remove(0)
        };
        let first = told(&world);
        assert_eq!((first.published_ports, first.readiness, first.liveness), (vec![80, 81], None, None));

        // What the service wants by now is for replicas to come.
        let probe = gantry_model::HealthProbe::new(gantry_model::Check::Tcp { port: 9 });
        world.change_service("shop/web", |service| service.spec.liveness = Some(probe.clone()));
        assert_eq!(told(&world).published_ports, [80, 81]);
        let mut revision = world.snapshot.revisions.values().next().unwrap().as_ref().clone();
        revision.checks = world.snapshot.services.values().next().unwrap().spec.checks();
        world.commit(&[gantry_model::Change::Put(gantry_model::Record::Revision(Arc::new(revision)))]);
        let second = told(&world);
        let written = Some(wire::write_probe(&probe));
        assert_eq!(
            (second.published_ports, second.readiness, second.liveness),
            (vec![], written.clone(), written)
        );
    }

    #[test]
    fn an_agent_is_told_everything_once_and_then_only_what_changed() {
        let mut world = world();
        let node = NodeId::new("n1").unwrap();
        let mut told = Told::new(7075, Credentials::default());
        let first = told.next(&world.snapshot, &node).unwrap();
        assert!(
            first.full && first.upserts.len() == 1 && first.segments.len() == 1 && first.volumes.len() == 1
        );
        assert_eq!(first.redirect, Some(Redirect { range: "10.223.0.0/16".into(), port: 7075 }));
        assert!(told.next(&world.snapshot, &node).is_none());

        world.change_service("shop/db", |service| service.replicas = 0);
        let plan = decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        let second = told.next(&world.snapshot, &node).unwrap();
        assert!(!second.full && second.upserts.len() == 1);
        assert_ne!(second.upserts[0].goal, first.upserts[0].goal);
    }

    #[test]
    fn a_volume_that_moves_is_fetched_by_its_new_node_and_then_removed_from_its_old_one() {
        let mut world = world().node("n2");
        let (old, new) = (NodeId::new("n1").unwrap(), NodeId::new("n2").unwrap());
        let volume = world.snapshot.volumes.values().next().unwrap().as_ref().clone();
        let mut at = |stage| {
            let moving = VolumeMove { id: "m1".into(), from: old.clone(), to: new.clone(), stage };
            let node = if stage == MoveStage::Removing { &new } else { &old };
            let volume = Volume { moving: Some(moving), node: Some(node.clone()), ..volume.clone() };
            world.commit(&[gantry_model::Change::Put(gantry_model::Record::Volume(Arc::new(volume)))]);
            let rest = |node| Rest::of(&world.snapshot, node, &MadeOf::default());
            (rest(&old), rest(&new))
        };
        let (from, to) = at(MoveStage::Stopping);
        assert!(from.volume_offers.is_empty() && to.volume_copies.is_empty(), "somebody may still write");
        let (from, to) = at(MoveStage::Copying);
        assert_eq!(from.volume_offers[0].to_node_id, "n2");
        assert_eq!(to.volume_copies[0].from.as_ref().unwrap().node_id, "n1");
        assert!(from.volume_removals.is_empty() && to.volume_removals.is_empty());
        let (from, to) = at(MoveStage::Removing);
        assert_eq!((from.volume_removals, to.volume_removals), (vec!["shop_data".to_owned()], Vec::new()));
        assert_eq!((from.volumes.len(), to.volumes.len()), (0, 1));
    }

    #[test]
    fn an_assignment_names_things_as_the_engine_does() {
        let world = world();
        let replica = &world.replicas("shop/db")[0];
        let assignment = assignment(&world.snapshot, replica).unwrap();
        let container = assignment.container.unwrap();
        assert_eq!(container.mounts[0].source, "shop_data");
        assert_eq!(container.networks[0].network, "shop_default");
        assert_eq!(container.networks[0].aliases, ["db", "postgres"]);
        let address = replica.addresses["default"];
        assert_eq!(container.networks[0].ipv4_address, address.to_string());
        assert_eq!(container.networks[0].mac_address, segments::mac(address));
        assert_eq!(container.labels["com.docker.compose.project"], "shop");
        assert!(!container.labels.contains_key("com.docker.compose.config-hash"));
        assert!(assignment.container_name.starts_with("shop-db-1-"));
    }
}
