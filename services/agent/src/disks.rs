//! How full the node's disks are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_api::node::v1::FullDisk;
use rustix::fs::{StatVfs, statvfs};
use tokio::sync::watch;
use tokio::time::interval;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(15);
/// From so many per cent on a disk is nearly full.
const FULL: u32 = 90;
/// Below so many it is not any more.
const ROOM: u32 = 88;

/// What is told of the disks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Disks {
    /// Those that are nearly full.
    pub full: Vec<FullDisk>,
    /// How much of the fullest is used, in per cent; `None`: not known.
    pub used_percent: Option<u32>,
}

/// Says in `told` how full the disks are, for as long as it is polled. `state` is the agent's folder. The
/// engine's disk is where the agent's own container has its root; without a container it is the host's root.
pub async fn keep(state: PathBuf, told: watch::Sender<Disks>) {
    let mut again = interval(EVERY);
    loop {
        again.tick().await;
        let state = state.clone();
        // A disk of another host may take its time.
        let Ok(seen) = tokio::task::spawn_blocking(move || look(Path::new("/"), &state)).await else {
            return;
        };
        told.send_if_modified(|told| {
            let used_percent = seen.iter().map(|disk| disk.percent()).max();
            let next = Disks { full: judge(&seen, &told.full), used_percent };
            let changed = next != *told;
            *told = next;
            changed
        });
    }
}

/// A disk and how much of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disk {
    owner: &'static str,
    /// Bytes that files have.
    used: u64,
    /// Bytes that they could still get.
    free: u64,
}

impl Disk {
    fn of(owner: &'static str, seen: &StatVfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
        Self { owner, used: bytes(seen.f_blocks.saturating_sub(seen.f_bfree)), free: bytes(seen.f_bavail) }
    }

    /// As `df` counts: what only root may still use does not count.
    fn percent(self) -> u32 {
        let all = u128::from(self.used) + u128::from(self.free);
        let percent = (u128::from(self.used) * 100).div_ceil(all.max(1));
        u32::try_from(percent).unwrap_or(100)
    }
}

/// The engine's disk and the agent's, or one of them where both are the same.
fn look(engine: &Path, agent: &Path) -> Vec<Disk> {
    let seen = [("engine", engine), ("agent", agent)]
        .into_iter()
        .filter_map(|(owner, path)| Some(Disk::of(owner, &statvfs(path).ok()?)));
    let mut disks: Vec<Disk> = seen.collect();
    disks.dedup_by_key(|disk| (disk.used, disk.free));
    disks
}

/// A disk that was nearly full is so until there is some room again.
fn judge(seen: &[Disk], told: &[FullDisk]) -> Vec<FullDisk> {
    let full = seen.iter().filter(|disk| {
        let was_full = told.iter().any(|told| told.owner == disk.owner);
        disk.percent() >= if was_full { ROOM } else { FULL }
    });
    full.map(|disk| FullDisk { owner: disk.owner.to_owned(), used_percent: disk.percent() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(owner: &'static str, used: u64) -> Disk {
        Disk { owner, used, free: 1000 - used }
    }

    #[test]
    fn a_disk_is_full_from_a_limit_on_until_there_is_room_again() {
        let full = |used, told: &[FullDisk]| judge(&[disk("engine", used), disk("agent", 100)], told);
        assert_eq!(full(890, &[]), []);
        let told = full(901, &[]);
        assert_eq!(told, [FullDisk { owner: "engine".into(), used_percent: 91 }]);
        assert_eq!(full(880, &told)[0].used_percent, 88, "it swings about the limit");
        assert_eq!(full(869, &told), []);
        assert_eq!(full(1000, &[])[0].used_percent, 100);
        assert_eq!(Disk { owner: "engine", used: 0, free: 0 }.percent(), 0, "no disk at all, such as /proc");
    }

    #[test]
    fn two_folders_of_one_disk_are_one_disk() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let seen = look(folder.path(), &inner);
        assert!(seen.len() == 1 && seen[0].owner == "engine" && seen[0].used + seen[0].free > 0, "{seen:?}");
        assert_eq!(look(&folder.path().join("none"), folder.path())[0].owner, "agent");
    }
}
