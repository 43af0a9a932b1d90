//! Goes through all replicas once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_model::ReplicaId;

use super::meter::Meter;
use super::tree::{BUFFER, Group, Tree};

/// Containers that are not at a usual place are looked for everywhere at most this often.
const SEARCH_AGAIN: Duration = Duration::from_secs(10);

/// A replica that has processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The replica.
    pub replica: ReplicaId,
    /// The engine's id of its container.
    pub container: String,
}

/// What a replica uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The replica.
    pub replica: ReplicaId,
    /// Millionths of a core since the sample before; `None` where there is none to compare with.
    pub cpu_microcores: Option<u32>,
    /// Bytes of memory in use, without the page cache that the kernel would give back;
    /// `None` where it does not count memory.
    pub memory_bytes: Option<u64>,
}

/// What came of one round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// What replicas use.
    pub samples: Vec<Sample>,
    /// Those whose files were not found.
    pub missing: Vec<Target>,
}

/// Reads the files of all replicas.
#[derive(Debug)]
pub struct Sampler {
    tree: Option<Tree>,
    known: BTreeMap<ReplicaId, Known>,
    searched: Option<Duration>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Known {
    container: String,
    group: Option<Group>,
    meter: Meter,
}

impl Sampler {
    /// Looks for containers in `tree`; without one, all of them are missing.
    pub fn new(tree: Option<Tree>) -> Self {
        Self { tree, known: BTreeMap::new(), searched: None, buffer: vec![0; BUFFER] }
    }

    /// Whether there is anything to read.
    pub fn has_files(&self) -> bool {
        self.tree.is_some()
    }

    /// What these replicas use. `clock` is asked at each reading and only goes forward. Blocks for some
    /// microseconds a replica.
    pub fn sample(&mut self, targets: &[Target], clock: impl Fn() -> Duration) -> Round {
        let wanted: BTreeSet<&ReplicaId> = targets.iter().map(|target| &target.replica).collect();
        self.known.retain(|replica, _| wanted.contains(replica));
        self.find(targets, clock());
        let mut round = Round::default();
        for target in targets {
            let Some(known) = self.known.get_mut(&target.replica) else { continue };
            let read = known.group.as_ref().map(|group| group.read(&mut self.buffer));
            match read {
                Some(Ok(counters)) => round.samples.push(Sample {
                    replica: target.replica.clone(),
                    cpu_microcores: known.meter.take(counters.cpu_nanos, clock()),
                    memory_bytes: counters.memory_bytes,
                }),
                // It has just ended, most likely; what comes next is counted from the beginning.
                Some(Err(_)) => (known.group, known.meter) = (None, Meter::default()),
                None => round.missing.push(target.clone()),
            }
        }
        round
    }

    fn find(&mut self, targets: &[Target], now: Duration) {
        let Some(tree) = &self.tree else {
            for target in targets {
                self.known.entry(target.replica.clone()).or_insert_with(|| Known::new(target, None));
            }
            return;
        };
        for target in targets {
            match self.known.get_mut(&target.replica) {
                Some(known) if known.container == target.container => {
                    if known.group.is_none() {
                        known.group = tree.find(&target.container);
                    }
                }
                _ => {
                    let known = Known::new(target, tree.find(&target.container));
                    self.known.insert(target.replica.clone(), known);
                }
            }
        }
        let due = self.searched.is_none_or(|searched| now.saturating_sub(searched) >= SEARCH_AGAIN);
        let missing: BTreeSet<&str> = self
            .known
            .values()
            .filter(|known| known.group.is_none())
            .map(|known| known.container.as_str())
            .collect();
        if due && !missing.is_empty() {
            let mut found = tree.search(&missing);
            self.searched = Some(now);
            for known in self.known.values_mut().filter(|known| known.group.is_none()) {
                known.group = found.remove(&known.container);
            }
        }
    }
}

impl Known {
    fn new(target: &Target, group: Option<Group>) -> Self {
        Self { container: target.container.clone(), group, meter: Meter::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;

    fn target(replica: &str, container: &str) -> Target {
        Target { replica: ReplicaId::new(replica).unwrap(), container: container.to_owned() }
    }

    /// A container has used so much processor time.
    fn used(mount: &Path, place: &str, micros: u64) {
        let folder = mount.join(place);
        fs::create_dir_all(&folder).unwrap();
        fs::write(mount.join("cgroup.controllers"), "cpu memory\n").unwrap();
        fs::write(folder.join("cpu.stat"), format!("usage_usec {micros}\n")).unwrap();
        fs::write(folder.join("memory.current"), "4096\n").unwrap();
        fs::write(folder.join("memory.stat"), "inactive_file 96\n").unwrap();
    }

    fn sampler(folder: &TempDir) -> Sampler {
        fs::write(folder.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        Sampler::new(Tree::open(folder.path()))
    }

    /// Cores of each replica in one round at this second.
    fn round(sampler: &mut Sampler, targets: &[Target], second: u64) -> Vec<(String, Option<u32>)> {
        let round = sampler.sample(targets, || Duration::from_secs(second));
        round.samples.iter().map(|sample| (sample.replica.to_string(), sample.cpu_microcores)).collect()
    }

    #[test]
    fn each_second_gives_what_was_used_in_it() {
        let folder = TempDir::new().unwrap();
        let mut sampler = sampler(&folder);
        let targets = [target("a", "c1"), target("b", "c2")];
        used(folder.path(), "docker/c1", 1_000_000);
        used(folder.path(), "docker/c2", 0);
        assert_eq!(round(&mut sampler, &targets, 1), [("a".into(), None), ("b".into(), None)]);
        used(folder.path(), "docker/c1", 1_250_000);
        assert_eq!(round(&mut sampler, &targets, 2), [("a".into(), Some(250_000)), ("b".into(), Some(0))]);
        let sample = sampler.sample(&targets[..1], || Duration::from_secs(3)).samples.remove(0);
        assert_eq!(sample.memory_bytes, Some(4_000));
    }

    #[test]
    fn a_container_that_was_started_anew_is_counted_from_the_beginning() {
        let folder = TempDir::new().unwrap();
        let mut sampler = sampler(&folder);
        used(folder.path(), "docker/c1", 9_000_000);
        round(&mut sampler, &[target("a", "c1")], 1);
        fs::remove_dir_all(folder.path().join("docker/c1")).unwrap();
        assert_eq!(round(&mut sampler, &[target("a", "c1")], 2), []);
        used(folder.path(), "docker/c1", 100_000);
        assert_eq!(round(&mut sampler, &[target("a", "c1")], 3), [("a".into(), None)]);
        used(folder.path(), "docker/c1", 600_000);
        assert_eq!(round(&mut sampler, &[target("a", "c1")], 4), [("a".into(), Some(500_000))]);
        // The replica got another container.
        used(folder.path(), "docker/c2", 700_000);
        assert_eq!(round(&mut sampler, &[target("a", "c2")], 5), [("a".into(), None)]);
    }

    #[test]
    fn what_is_not_found_is_said_and_looked_for_now_and_then() {
        let folder = TempDir::new().unwrap();
        let mut sampler = sampler(&folder);
        let targets = [target("a", "c1")];
        let missing = |sampler: &mut Sampler, second| {
            sampler.sample(&targets, || Duration::from_secs(second)).missing.len()
        };
        assert_eq!(missing(&mut sampler, 1), 1);
        used(folder.path(), "own.slice/below/docker-c1.scope", 5);
        assert_eq!(
            [missing(&mut sampler, 2), missing(&mut sampler, 10)],
            [1, 1],
            "it is not looked for each second"
        );
        assert_eq!(missing(&mut sampler, 11), 0);
    }

    #[test]
    fn without_control_groups_all_are_missing() {
        let mut sampler = Sampler::new(None);
        let round = sampler.sample(&[target("a", "c1")], || Duration::from_secs(1));
        assert_eq!((round.samples.len(), round.missing.len()), (0, 1));
    }

    #[test]
    fn the_clock_is_asked_at_each_reading() {
        let folder = TempDir::new().unwrap();
        let mut sampler = sampler(&folder);
        let targets = [target("a", "c1")];
        used(folder.path(), "docker/c1", 0);
        let now = Cell::new(0);
        let clock = || {
            now.set(now.get() + 1);
            Duration::from_secs(now.get())
        };
        // Asked twice a round: it is read at the seconds 2 and 4.
        sampler.sample(&targets, clock);
        used(folder.path(), "docker/c1", 2_000_000);
        assert_eq!(sampler.sample(&targets, clock).samples[0].cpu_microcores, Some(1_000_000));
    }
}
