//! Volumes that move to another node: `stopping → copying → removing → done`.
//!
//! The old copy is used by nobody while it is copied, and goes only when the new one was compared with it
//! and is the volume. So until then a move can be given up, and everything is as before.

use std::fmt;
use std::sync::Arc;

use gantry_model::{Goal, MoveStage, Replica, Snapshot, Volume, VolumeMove};

use super::action::Action;
use super::plan::Plan;

/// A copy that failed this often is given up, so that the users of the volume run again.
const TRIES: u32 = 3;

/// A step of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveStep {
    /// Nobody uses the volume any more: it can be copied.
    Copy,
    /// The copy is whole: it is the volume from now on.
    Switch,
    /// The move is given up, for this reason: the volume stays where it is.
    GiveUp(String),
    /// The old copy is gone, or nobody can say any more.
    Finish,
}

impl MoveStep {
    /// The kind of step in one word, as events have it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Copy => "VolumeCopying",
            Self::Switch => "VolumeMoved",
            Self::GiveUp(_) => "VolumeMoveFailed",
            Self::Finish => "VolumeMoveFinished",
        }
    }

    /// What it makes of the volume's record.
    pub fn apply(&self, volume: &mut Volume) {
        match (self, &mut volume.moving) {
            (Self::Copy, Some(moving)) => moving.stage = MoveStage::Copying,
            (Self::Switch, Some(moving)) => {
                // The volume's node and the stage change in one transaction (invariant 9).
                volume.node = Some(moving.to.clone());
                moving.stage = MoveStage::Removing;
            }
            (Self::GiveUp(_) | Self::Finish, moving) => *moving = None,
            (_, None) => {}
        }
    }
}

impl fmt::Display for MoveStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => f.write_str("is copied: nobody uses it any more"),
            Self::Switch => f.write_str("lies on its new node: the copy was compared with the original"),
            Self::GiveUp(why) => write!(f, "stays where it is: {why}"),
            Self::Finish => f.write_str("has moved: the old copy is gone"),
        }
    }
}

/// Takes the next step of every move that can take one.
pub fn advance(plan: &mut Plan) {
    let moving: Vec<Arc<Volume>> =
        plan.working.volumes.values().filter(|volume| volume.moving.is_some()).cloned().collect();
    for volume in moving {
        let Some(moving) = &volume.moving else { continue };
        if moving.stage == MoveStage::Stopping {
            for replica in users(&plan.working, &volume).filter(|user| user.goal == Goal::Run) {
                let why = format!("its volume {} moves to another node", volume.key);
                plan.push(Action::Drain { replica: replica.id.clone(), why });
            }
        }
        if let Some(step) = next(&plan.working, &volume, moving) {
            plan.push(Action::Move { stack: volume.stack.clone(), key: volume.key.clone(), step });
        }
    }
}

fn next(snapshot: &Snapshot, volume: &Volume, moving: &VolumeMove) -> Option<MoveStep> {
    let is_member = |node| snapshot.nodes.contains_key(node);
    match moving.stage {
        MoveStage::Removing if !is_member(&moving.from) => Some(MoveStep::Finish),
        // The agent of the old node says when it is gone.
        MoveStage::Removing => None,
        _ if !is_member(&moving.to) => {
            Some(MoveStep::GiveUp("the node that it was to move to is no member any more".to_owned()))
        }
        _ if !is_member(&moving.from) => {
            Some(MoveStep::GiveUp("the node that has it is no member any more".to_owned()))
        }
        MoveStage::Stopping => users(snapshot, volume).next().is_none().then_some(MoveStep::Copy),
        MoveStage::Copying => {
            let status = snapshot.node_statuses.get(&moving.to)?;
            let copy = status.volume_copies.get(&moving.id)?;
            match &copy.error {
                _ if copy.verified => Some(MoveStep::Switch),
                Some(error) if copy.failures >= TRIES => {
                    Some(MoveStep::GiveUp(format!("it could not be copied, {TRIES} times: {error}")))
                }
                _ => None,
            }
        }
    }
}

/// The replicas on the volume's node that use it, or did and may still have a container.
fn users<'a>(snapshot: &'a Snapshot, volume: &'a Volume) -> impl Iterator<Item = Arc<Replica>> + use<> {
    let users: Vec<_> = volume
        .node
        .iter()
        .flat_map(|node| snapshot.replicas_on(node))
        .filter(|replica| *replica.service.stack() == volume.stack)
        .filter(|replica| {
            let revision = snapshot.revision_of(replica);
            revision.is_none_or(|revision| revision.template.volume_keys().any(|key| key == volume.key))
        })
        .cloned()
        .collect();
    users.into_iter()
}

#[cfg(test)]
mod tests {
    use gantry_model::{Change, NodeId, Record, StackName, Timestamp, VolumeCopy};
    use gantry_testkit::World;

    use super::*;
    use crate::decide::decide;

    fn id(node: &str) -> NodeId {
        NodeId::new(node).unwrap()
    }

    fn volume(world: &World) -> Volume {
        world.snapshot.volumes[&(StackName::new("shop").unwrap(), "data".to_owned())].as_ref().clone()
    }

    /// Decides and lets agents do what they are told, until nothing more happens.
    fn settle(world: &mut World) {
        for _ in 0..20 {
            let plan = decide(&world.snapshot, world.now);
            world.commit(&plan.changes);
            world.run_all();
            world.pass(std::time::Duration::from_secs(1));
        }
    }

    /// A database that runs on `n1` with its volume, and a second node.
    fn world() -> World {
        let mut world = World::new(Timestamp::from_millis(1))
            .node("n1")
            .service("shop/db", |service| service.volume("data"));
        settle(&mut world);
        let world = world.node("n2");
        assert_eq!(volume(&world).node, Some(id("n1")));
        world
    }

    fn begin(world: &mut World) {
        let moving = VolumeMove { id: "m1".into(), from: id("n1"), to: id("n2"), stage: MoveStage::Stopping };
        let volume = Volume { moving: Some(moving), ..volume(world) };
        world.commit(&[Change::Put(Record::Volume(Arc::new(volume)))]);
    }

    fn stage(world: &World) -> Option<MoveStage> {
        volume(world).moving.map(|moving| moving.stage)
    }

    fn say(world: &mut World, copy: VolumeCopy) {
        world.change_node_status("n2", |status| drop(status.volume_copies.insert("m1".into(), copy)));
    }

    fn nodes(world: &World) -> Vec<Option<NodeId>> {
        world.replicas("shop/db").into_iter().map(|replica| replica.node).collect()
    }

    #[test]
    fn nobody_runs_while_a_volume_is_copied_and_then_everybody_runs_where_it_is() {
        let mut world = world();
        begin(&mut world);
        let plan = decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        assert_eq!(stage(&world), Some(MoveStage::Stopping), "its user still has a container");
        settle(&mut world);
        assert_eq!(stage(&world), Some(MoveStage::Copying));
        assert_eq!(nodes(&world), [None]);
        let pending = world.replicas("shop/db")[0].pending.clone().unwrap();
        assert!(pending.contains("the volume data, which is being moved to n2"), "{pending}");

        say(&mut world, VolumeCopy { done: 10, ..VolumeCopy::default() });
        settle(&mut world);
        assert_eq!((stage(&world), volume(&world).node), (Some(MoveStage::Copying), Some(id("n1"))));

        say(&mut world, VolumeCopy { verified: true, ..VolumeCopy::default() });
        settle(&mut world);
        assert_eq!((stage(&world), volume(&world).node), (Some(MoveStage::Removing), Some(id("n2"))));
        assert_eq!(nodes(&world), [Some(id("n2"))], "it does not wait for the old copy to go");
    }

    #[test]
    fn the_node_and_the_stage_change_in_one_transaction() {
        let mut world = world();
        begin(&mut world);
        settle(&mut world);
        say(&mut world, VolumeCopy { verified: true, ..VolumeCopy::default() });
        let before = volume(&world);
        let plan = decide(&world.snapshot, world.now);
        // At every point between two changes the records agree: the node is that of the stage.
        let mut snapshot = world.snapshot.clone();
        for change in &plan.changes {
            snapshot.apply(change);
            let now = &snapshot.volumes[&(before.stack.clone(), before.key.clone())];
            let moved = now.moving.as_ref().is_some_and(|moving| moving.stage == MoveStage::Removing);
            assert_eq!(now.node == Some(id("n2")), moved);
        }
    }

    #[test]
    fn a_copy_that_fails_again_and_again_is_given_up_and_its_users_run_where_they_did() {
        let mut world = world();
        begin(&mut world);
        settle(&mut world);
        let failed = |failures| VolumeCopy {
            failures,
            error: Some("no space left on device".into()),
            ..VolumeCopy::default()
        };
        say(&mut world, failed(TRIES - 1));
        settle(&mut world);
        assert_eq!(stage(&world), Some(MoveStage::Copying));
        say(&mut world, failed(TRIES));
        settle(&mut world);
        assert_eq!((stage(&world), volume(&world).node), (None, Some(id("n1"))));
        assert_eq!(nodes(&world), [Some(id("n1"))]);
        let said = world.snapshot.events.values().any(|event| event.message.contains("no space left"));
        assert!(said, "people hear why");
    }

    #[test]
    fn what_an_earlier_move_said_is_not_taken_for_this_ones_copy() {
        let mut world = world();
        world.change_node_status("n2", |status| {
            status.volume_copies.insert("m0".into(), VolumeCopy { verified: true, ..VolumeCopy::default() });
        });
        begin(&mut world);
        settle(&mut world);
        assert_eq!(stage(&world), Some(MoveStage::Copying));
    }

    #[test]
    fn a_target_that_is_away_holds_the_move_and_nothing_is_lost() {
        let mut world = world();
        begin(&mut world);
        settle(&mut world);
        world.disconnect("n2");
        settle(&mut world);
        assert_eq!((stage(&world), volume(&world).node), (Some(MoveStage::Copying), Some(id("n1"))));
    }
}
