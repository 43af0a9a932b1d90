//! What people may ask of volumes. Pure: what is asked, and what is known, become changes or a refusal.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::{CreateVolumeRequest, MoveVolumeRequest};
use gantry_identity::Identity;
use gantry_model::{
    Change, Key, MoveStage, Node, NodeId, Record, Severity, Snapshot, StackName, Timestamp, Volume,
    VolumeMove,
};
use tonic::Status;

use crate::decide::{MoveStep, record_event};

/// The volume of a stack and a key, or what to do if it is not there.
pub fn find<'a>(snapshot: &'a Snapshot, stack: &str, key: &str) -> Result<&'a Volume, Status> {
    let id = (read_stack(stack)?, key.to_owned());
    snapshot.volumes.get(&id).map(AsRef::as_ref).ok_or_else(|| {
        Status::not_found(format!(
            "there is no volume {stack}/{key}: `gantry volume ls` shows those that are"
        ))
    })
}

fn read_stack(stack: &str) -> Result<StackName, Status> {
    StackName::new(stack).map_err(|bad| Status::invalid_argument(bad.to_string()))
}

fn find_node<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Node, Status> {
    let mut nodes = snapshot.nodes.values();
    let found = nodes.find(|node| node.name == name || node.id.as_str() == name);
    found.map(AsRef::as_ref).ok_or_else(|| {
        let known: Vec<_> = snapshot.nodes.values().map(|node| node.name.clone()).collect();
        Status::not_found(format!("there is no node {name}; there are {}", known.join(", ")))
    })
}

/// The full names of the services that use a volume.
fn users(snapshot: &Snapshot, volume: &Volume) -> Vec<String> {
    snapshot
        .services_of(&volume.stack)
        .filter(|service| service.spec.template(None).volume_keys().any(|key| key == volume.key))
        .map(|service| service.id.to_string())
        .collect()
}

/// A volume as people see it.
pub fn show(snapshot: &Snapshot, volume: &Volume) -> wire::Volume {
    let name = |id: &NodeId| snapshot.nodes.get(id).map_or_else(|| id.to_string(), |node| node.name.clone());
    let moving = volume.moving.as_ref();
    wire::Volume {
        stack: volume.stack.to_string(),
        key: volume.key.clone(),
        name: volume.name.clone(),
        node: volume.node.as_ref().filter(|_| volume.lies_on_node()).map(name).unwrap_or_default(),
        driver: volume.driver.clone().unwrap_or_else(|| "local".to_owned()),
        external: volume.external,
        used_by: users(snapshot, volume),
        options: volume.options.clone(),
        labels: volume.labels.clone(),
        moving_to: moving.map(|moving| name(&moving.to)).unwrap_or_default(),
        message: moving.map(|moving| progress(snapshot, moving, name)).unwrap_or_default(),
    }
}

fn progress(snapshot: &Snapshot, moving: &VolumeMove, name: impl Fn(&NodeId) -> String) -> String {
    let (from, to) = (name(&moving.from), name(&moving.to));
    match moving.stage {
        MoveStage::Stopping => format!("moving from {from} to {to}: waiting for its users to end"),
        MoveStage::Removing => format!("moved from {from} to {to}: the old copy is being removed"),
        MoveStage::Copying => {
            let status = snapshot.node_statuses.get(&moving.to);
            let copy = status.and_then(|status| status.volume_copies.get(&moving.id));
            match copy {
                Some(copy) => match &copy.error {
                    Some(error) => format!("moving from {from} to {to}: trying again after: {error}"),
                    None => format!("moving from {from} to {to}: {} MiB copied", copy.done >> 20),
                },
                None => format!("moving from {from} to {to}: waiting for {to}"),
            }
        }
    }
}

fn event(snapshot: &Snapshot, stack: &StackName, reason: &str, words: String, now: Timestamp) -> Vec<Change> {
    record_event(snapshot, now, Severity::Normal, stack.as_str(), None, reason, words)
}

/// Makes the record of a volume that a stack will use.
pub fn create(
    snapshot: &Snapshot,
    request: &CreateVolumeRequest,
    by: &Identity,
    now: Timestamp,
) -> Result<(Vec<Change>, Volume), Status> {
    let (stack, key) = (read_stack(&request.stack)?, request.key.clone());
    if key.is_empty() || key.contains('/') {
        return Err(Status::invalid_argument(format!("{key:?} is no name of a volume in a stack")));
    }
    if snapshot.volumes.contains_key(&(stack.clone(), key.clone())) {
        return Err(Status::already_exists(format!("the volume {stack}/{key} exists already")));
    }
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let volume = Volume {
        name: some(&request.name).unwrap_or_else(|| format!("{stack}_{key}")),
        stack,
        key,
        external: false,
        driver: some(&request.driver),
        options: request.options.clone(),
        labels: request.labels.clone(),
        node: match request.node.as_str() {
            "" => None,
            name => Some(find_node(snapshot, name)?.id.clone()),
        },
        removing: false,
        moving: None,
    };
    if let Some(other) = snapshot.volumes.values().find(|other| other.name == volume.name) {
        return Err(Status::already_exists(format!(
            "the volume {}/{} is named {} on the engine already: choose another --name",
            other.stack, other.key, other.name
        )));
    }
    let words = format!("the volume {} was made by {} {}", volume.key, by.role, by.name);
    let mut changes = event(snapshot, &volume.stack, "VolumeCreated", words, now);
    changes.push(Change::Put(Record::Volume(Arc::new(volume.clone()))));
    Ok((changes, volume))
}

/// Removes a volume that no service uses.
pub fn remove(
    snapshot: &Snapshot,
    stack: &str,
    key: &str,
    by: &Identity,
    now: Timestamp,
) -> Result<Vec<Change>, Status> {
    let volume = find(snapshot, stack, key)?;
    let users = users(snapshot, volume);
    if !users.is_empty() {
        let users = users.join(", ");
        return Err(Status::failed_precondition(format!("{users} uses the volume {stack}/{key}")));
    }
    if volume.moving.is_some() {
        return Err(Status::failed_precondition(format!(
            "the volume {stack}/{key} is being moved: `gantry volume inspect {stack}/{key}` says how far it is"
        )));
    }
    let words = format!("removal of the volume {stack}/{key} asked for by {} {}", by.role, by.name);
    let mut changes = event(snapshot, &volume.stack, "VolumeRemoving", words, now);
    changes.push(if volume.node.is_none() || volume.external {
        Change::Delete(Key::Volume(volume.stack.clone(), volume.key.clone()))
    } else {
        Change::Put(Record::Volume(Arc::new(Volume { removing: true, ..volume.clone() })))
    });
    Ok(changes)
}

/// A volume that begins to move, and what people may not expect.
pub type Begun = (Volume, Vec<String>);

/// Begins to move a volume, or gives up the move that is under way.
pub fn begin_move(
    snapshot: &Snapshot,
    request: &MoveVolumeRequest,
    id: &str,
    by: &Identity,
    now: Timestamp,
) -> Result<(Vec<Change>, Begun), Status> {
    let volume = find(snapshot, &request.stack, &request.key)?;
    let name = format!("{}/{}", volume.stack, volume.key);
    let refuse = |why: String| Err(Status::failed_precondition(why));
    if volume.removing {
        return refuse(format!("the volume {name} is being removed"));
    }
    if volume.external {
        return refuse(format!(
            "the volume {name} is external: Gantry neither makes nor removes it, and so does not move it"
        ));
    }
    if !volume.lies_on_node() {
        return refuse(format!(
            "what is in the volume {name} is not kept on a node but by its driver: nothing is to be moved"
        ));
    }
    if let Some(other) = snapshot
        .volumes
        .values()
        .find(|other| other.name == volume.name && (&other.stack, &other.key) != (&volume.stack, &volume.key))
    {
        return refuse(format!(
            "the volume {name} is also {}/{}, which would lose it",
            other.stack, other.key
        ));
    }
    let to = find_node(snapshot, &request.node)?;
    let mut moved = volume.clone();
    // Who asks again, because an answer was lost, gets the same one.
    let is_or_will_be = volume.moving.as_ref().map(|moving| &moving.to).or(volume.node.as_ref());
    if is_or_will_be == Some(&to.id) {
        return Ok((Vec::new(), (moved, Vec::new())));
    }
    let words = match (&volume.moving, &volume.node) {
        (Some(moving), _) if moving.stage == MoveStage::Removing => {
            return refuse(format!(
                "the old copy of the volume {name} is still being removed: wait for that"
            ));
        }
        (Some(_), Some(at)) if *at == to.id => {
            MoveStep::GiveUp(String::new()).apply(&mut moved);
            format!("the move of the volume {name} was given up by {} {}", by.role, by.name)
        }
        (Some(moving), _) => {
            let to = snapshot.nodes.get(&moving.to).map_or(moving.to.as_str(), |node| &node.name);
            return refuse(format!("the volume {name} is being moved to {to} already"));
        }
        (None, from) => {
            if let Some(problem) = not_ready(snapshot, &to.id) {
                return Err(Status::unavailable(format!("node {} cannot take it: {problem}", to.name)));
            }
            match from {
                // Nothing was ever stored in it.
                None => moved.node = Some(to.id.clone()),
                Some(from) => {
                    if let Some(problem) = not_ready(snapshot, from) {
                        let from = snapshot.nodes.get(from).map_or(from.as_str(), |node| &node.name);
                        return Err(Status::unavailable(format!("node {from} has it, and {problem}")));
                    }
                    moved.moving = Some(VolumeMove {
                        id: id.to_owned(),
                        from: from.clone(),
                        to: to.id.clone(),
                        stage: MoveStage::Stopping,
                    });
                }
            }
            format!("the volume {name} moves to {}, as asked by {} {}", to.name, by.role, by.name)
        }
    };
    let warnings = if moved.moving.is_some() { companions(snapshot, volume, to) } else { Vec::new() };
    let mut changes = event(snapshot, &volume.stack, "VolumeMoving", words, now);
    changes.push(Change::Put(Record::Volume(Arc::new(moved.clone()))));
    Ok((changes, (moved, warnings)))
}

fn not_ready(snapshot: &Snapshot, node: &NodeId) -> Option<String> {
    match snapshot.node_statuses.get(node) {
        Some(status) => status.problem(),
        None => Some("its agent has not connected since the scheduler started".to_owned()),
    }
}

/// Other volumes of the same services that stay on another node: together they fit nowhere.
fn companions(snapshot: &Snapshot, volume: &Volume, to: &Node) -> Vec<String> {
    let mut warnings = Vec::new();
    for service in snapshot.services_of(&volume.stack) {
        let template = service.spec.template(None);
        let keys: Vec<_> = template.volume_keys().collect();
        if !keys.contains(&volume.key.as_str()) {
            continue;
        }
        for key in keys.into_iter().filter(|key| *key != volume.key) {
            let other = snapshot.volumes.get(&(volume.stack.clone(), key.to_owned()));
            let Some(other) = other.filter(|other| other.lies_on_node() && other.moving.is_none()) else {
                continue;
            };
            if other.node.as_ref().is_some_and(|node| *node != to.id) {
                warnings.push(format!(
                    "{} also uses {}/{key}, which is on another node: it runs when that is moved too",
                    service.id, volume.stack
                ));
            }
        }
    }
    warnings
}
