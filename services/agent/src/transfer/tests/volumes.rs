//! Volumes that move between agents.

use gantry_api::node::v1::{VolumeCopy, VolumeOffer, VolumeUse};
use tokio::task::JoinHandle;

use super::super::moves::Progress;
use super::*;

const NAME: &str = "shop_data";

/// An archive of one file.
fn archive(content: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    header.set_uid(999);
    header.set_gid(999);
    archive.append_data(&mut header, "volume/file", content).unwrap();
    archive.into_inner().unwrap()
}

/// A volume that moves from `n1` to `n2`, and the engines of both.
struct Move {
    cluster: Cluster,
    source: WirePeer,
    from: Simulated,
    to: Simulated,
    moves: Moves,
    task: Option<JoinHandle<()>>,
}

impl Move {
    async fn of(archive: &[u8]) -> Self {
        let (cluster, from, to) = (Cluster::new(), Simulated::default(), Simulated::default());
        from.has_volume(NAME, archive);
        let offers = Moves::new(cluster.dial("n1"));
        let offer = VolumeOffer { name: NAME.into(), move_id: "m1".into(), to_node_id: "n2".into() };
        offers.set(Vec::new(), vec![offer]);
        let source = cluster.serve("n1", Transfers::new(from.clone(), offers)).await;
        let moves = Moves::new(cluster.dial("n2"));
        Self { cluster, source, from, to, moves, task: None }
    }

    fn begin(&mut self) {
        let volume = VolumeUse { name: NAME.into(), ..VolumeUse::default() };
        let copy = VolumeCopy { volume: Some(volume), move_id: "m1".into(), from: Some(self.source.clone()) };
        self.moves.set(vec![copy], Vec::new());
        let (moves, engine, stop) = (self.moves.clone(), self.to.clone(), self.cluster.stop.clone());
        self.task = Some(tokio::spawn(async move { moves.run(engine, stop).await }));
    }

    async fn progress(&self, wanted: impl Fn(&Progress) -> bool) -> Progress {
        let mut progress = self.moves.progress();
        let found = progress.wait_for(|all| all.get("m1").is_some_and(&wanted));
        timeout(PATIENCE, found).await.unwrap().unwrap()["m1"].clone()
    }
}

#[tokio::test]
async fn a_volume_is_copied_and_compared_and_the_old_copy_stays() {
    let content = archive(&content(1));
    let mut moving = Move::of(&content).await;
    moving.begin();
    let progress = moving.progress(|progress| progress.verified).await;
    assert_eq!((progress.done, progress.failures), (content.len() as u64, 0));
    assert_eq!(moving.to.volume(NAME), Some(content.clone()));
    assert_eq!(moving.from.volume(NAME), Some(content), "only the scheduler says when it goes");
}

#[tokio::test]
async fn a_copy_that_is_not_what_was_sent_is_removed_and_made_again() {
    let content = archive(b"money");
    let mut moving = Move::of(&content).await;
    moving.to.loses(&archive(b"mooey"));
    moving.begin();
    let failed = moving.progress(|progress| progress.failures == 1).await;
    assert_eq!((failed.error.as_str(), failed.verified), ("the copy is not what was sent", false));
    let progress = moving.progress(|progress| progress.verified).await;
    assert_eq!((progress.failures, progress.error.as_str()), (1, ""));
    assert_eq!(moving.to.volume(NAME), Some(content));
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_left_there() {
    let mut moving = Move::of(&archive(b"money")).await;
    moving.to.set_room(10);
    moving.begin();
    let failed = moving.progress(|progress| progress.failures == 1).await;
    assert!(failed.error.contains("no space left on device"), "{}", failed.error);
    assert_eq!(moving.to.volume(NAME), None);
}

#[tokio::test]
async fn a_volume_that_is_there_already_is_never_overwritten() {
    let mut moving = Move::of(&archive(b"money")).await;
    let other = archive(b"somebody else's");
    moving.to.has_volume(NAME, &other);
    moving.begin();
    let failed = moving.progress(|progress| progress.failures == 1).await;
    assert!(failed.error.contains("already"), "{}", failed.error);
    assert_eq!(moving.to.volume(NAME), Some(other));
}

#[tokio::test]
async fn a_move_that_is_given_up_leaves_nothing_behind() {
    let mut moving = Move::of(&archive(b"money")).await;
    // The source is out of reach, so that the move is under way for as long as it is wanted.
    moving.source.port = 1;
    moving.begin();
    moving.progress(|progress| progress.failures >= 1).await;
    moving.moves.set(Vec::new(), Vec::new());
    let mut progress = moving.moves.progress();
    timeout(PATIENCE, progress.wait_for(BTreeMap::is_empty)).await.unwrap().unwrap();
    assert_eq!(moving.to.volume(NAME), None);
}

#[tokio::test]
async fn a_node_gets_no_volume_that_does_not_move_to_it() {
    let moving = Move::of(&archive(b"money")).await;
    let source = super::super::Peer::from(moving.source.clone());
    for (node, name, move_id) in [("n3", NAME, "m1"), ("n2", NAME, "m2"), ("n2", "other", "m1")] {
        let mut client = moving.cluster.dial(node).peer(&source).await.unwrap();
        let request = FetchVolumeRequest { name: name.into(), move_id: move_id.into() };
        let refused = client.fetch_volume(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{node} {name} {move_id}");
    }
}
