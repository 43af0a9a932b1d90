//! Where the kernel counts the processes of a container: in its control group, a folder that carries the
//! container's id in its name.
//!
//! The engine's usual places are tried first; where it was told another parent, or runs without root, the tree
//! is walked through. Processes' own `/proc/PID/cgroup` is of no use: the agent does not see the host's processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::counters::{Counters, cpu_v1, cpu_v2, memory_v1, memory_v2};

/// How deep groups of containers lie at most: rootless engines have theirs five folders down.
const DEEPEST: usize = 8;
/// So many folders are looked into at most.
const MOST: usize = 20_000;
/// Larger than any of the files: they are read in one go.
pub const BUFFER: usize = 16 << 10;

/// The host's control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Where groups are looked for, and processor time is counted.
    cpu: PathBuf,
    memory: Memory,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Memory {
    /// Version 1, in a tree of its own; `None` where the kernel does not count it.
    Apart(Option<PathBuf>),
    /// Version 2.
    Together,
}

/// The files of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    cpu: PathBuf,
    /// What is used, and what of that is cache; `None` where the kernel does not count memory.
    memory: Option<(PathBuf, PathBuf)>,
    is_v2: bool,
}

impl Tree {
    /// What is mounted at `mount`; `None` if there are no control groups that count processor time.
    pub fn open(mount: &Path) -> Option<Self> {
        if mount.join("cgroup.controllers").exists() {
            return Some(Self { cpu: mount.to_owned(), memory: Memory::Together });
        }
        let is_there = |path: &PathBuf| path.is_dir();
        let names = ["cpuacct", "cpu,cpuacct", "cpuacct,cpu"];
        let cpu = names
            .map(|name| mount.join(name))
            .into_iter()
            .find(|path| path.join("cpuacct.usage").exists())?;
        Some(Self { cpu, memory: Memory::Apart(Some(mount.join("memory")).filter(is_there)) })
    }

    /// The group of a container, if it is at one of the usual places.
    pub fn find(&self, container: &str) -> Option<Group> {
        // With systemd as the engine's cgroup driver, and without.
        let places = [format!("system.slice/docker-{container}.scope"), format!("docker/{container}")];
        let place = places.into_iter().find(|place| self.cpu.join(place).is_dir())?;
        Some(self.group(Path::new(&place)))
    }

    /// The groups of these containers, wherever they are. Looks into every folder: seldom called.
    pub fn search(&self, containers: &BTreeSet<&str>) -> BTreeMap<String, Group> {
        let mut found = BTreeMap::new();
        let mut left = vec![(PathBuf::new(), 0)];
        let mut seen = 0;
        while let Some((place, depth)) = left.pop() {
            let Ok(entries) = fs::read_dir(self.cpu.join(&place)) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
                seen += 1;
                if seen > MOST || found.len() == containers.len() {
                    return found;
                }
                let name = entry.file_name();
                let below = place.join(&name);
                match id_in(&name.to_string_lossy()).filter(|id| containers.contains(id)) {
                    Some(id) => drop(found.insert(id.to_owned(), self.group(&below))),
                    None if depth + 1 < DEEPEST => left.push((below, depth + 1)),
                    None => {}
                }
            }
        }
        found
    }

    fn group(&self, place: &Path) -> Group {
        let own = self.cpu.join(place);
        match &self.memory {
            Memory::Together => Group {
                cpu: own.join("cpu.stat"),
                // Where the kernel was told not to count memory, there are no such files.
                memory: own
                    .join("memory.current")
                    .exists()
                    .then(|| (own.join("memory.current"), own.join("memory.stat"))),
                is_v2: true,
            },
            Memory::Apart(tree) => {
                let memory = tree.as_ref().map(|tree| tree.join(place)).filter(|memory| memory.is_dir());
                Group {
                    cpu: own.join("cpuacct.usage"),
                    memory: memory
                        .map(|memory| (memory.join("memory.usage_in_bytes"), memory.join("memory.stat"))),
                    is_v2: false,
                }
            }
        }
    }
}

/// The id in the name of a container's group: `docker-ID.scope`, `libpod-ID.scope` or `ID`.
fn id_in(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.rsplit('-').next().unwrap_or(name);
    (!id.is_empty()).then_some(id)
}

impl Group {
    /// Reads what was counted. `buffer` has [`BUFFER`] bytes. An error means that the container is gone, or was
    /// started anew somewhere else.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Counters> {
        let cpu = if self.is_v2 { cpu_v2 } else { cpu_v1 };
        let cpu_nanos = cpu(text(&self.cpu, buffer)?).ok_or_else(|| unreadable(&self.cpu))?;
        let Some((usage, stat)) = &self.memory else {
            return Ok(Counters { cpu_nanos, memory_bytes: None });
        };
        // The first is one short number: both fit.
        let (first, rest) = buffer.split_at_mut(64);
        let (first, rest) = (text(usage, first)?, text(stat, rest)?);
        let memory = if self.is_v2 { memory_v2 } else { memory_v1 };
        let memory_bytes = memory(first, rest).ok_or_else(|| unreadable(usage))?;
        Ok(Counters { cpu_nanos, memory_bytes: Some(memory_bytes) })
    }
}

/// A file of the kernel: it comes whole with one read.
fn text<'a>(path: &Path, buffer: &'a mut [u8]) -> io::Result<&'a str> {
    let read = File::open(path)?.read(buffer)?;
    std::str::from_utf8(buffer.get(..read).unwrap_or_default()).map_err(|_| unreadable(path))
}

fn unreadable(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is not as expected", path.display()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const ID: &str = "1b617398367035704f0d63efae88de26973dc1d40bef8a61c00ec2820b2709a8";

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn v1(place: &str) -> TempDir {
        let folder = TempDir::new().unwrap();
        write(
            folder.path(),
            &[
                ("cpuacct/cpuacct.usage", "1\n"),
                (&format!("cpuacct/{place}/cpuacct.usage"), "5000000000\n"),
                (&format!("memory/{place}/memory.usage_in_bytes"), "1000\n"),
                (&format!("memory/{place}/memory.stat"), "total_inactive_file 400\n"),
            ],
        );
        folder
    }

    fn v2(place: &str) -> TempDir {
        let folder = TempDir::new().unwrap();
        write(
            folder.path(),
            &[
                ("cgroup.controllers", "cpu memory pids\n"),
                (&format!("{place}/cpu.stat"), "usage_usec 7\nuser_usec 5\n"),
                (&format!("{place}/memory.current"), "2000\n"),
                (&format!("{place}/memory.stat"), "anon 1\ninactive_file 500\n"),
            ],
        );
        folder
    }

    fn read(group: &Group) -> Counters {
        group.read(&mut [0; BUFFER]).unwrap()
    }

    #[test]
    fn a_container_is_found_at_the_usual_places_of_both_versions() {
        for place in [format!("docker/{ID}"), format!("system.slice/docker-{ID}.scope")] {
            let folder = v1(&place);
            let group = Tree::open(folder.path()).unwrap().find(ID).unwrap();
            assert_eq!(read(&group), Counters { cpu_nanos: 5_000_000_000, memory_bytes: Some(600) });

            let folder = v2(&place);
            let group = Tree::open(folder.path()).unwrap().find(ID).unwrap();
            assert_eq!(read(&group), Counters { cpu_nanos: 7_000, memory_bytes: Some(1_500) });
        }
    }

    #[test]
    fn elsewhere_it_is_found_by_looking_everywhere() {
        let rootless = format!("user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope");
        let folder = v2(&rootless);
        let tree = Tree::open(folder.path()).unwrap();
        assert_eq!(tree.find(ID), None);
        let found = tree.search(&BTreeSet::from([ID, "other"]));
        assert_eq!(found.keys().collect::<Vec<_>>(), [ID]);
        assert_eq!(read(&found[ID]).memory_bytes, Some(1_500));
    }

    #[test]
    fn memory_that_a_kernel_does_not_count_is_unknown_and_no_zero() {
        let folder = v1(&format!("docker/{ID}"));
        fs::remove_dir_all(folder.path().join("memory")).unwrap();
        let group = Tree::open(folder.path()).unwrap().find(ID).unwrap();
        assert_eq!(read(&group), Counters { cpu_nanos: 5_000_000_000, memory_bytes: None });
        let folder = v2(&format!("docker/{ID}"));
        fs::remove_file(folder.path().join(format!("docker/{ID}/memory.current"))).unwrap();
        let group = Tree::open(folder.path()).unwrap().find(ID).unwrap();
        assert_eq!(read(&group), Counters { cpu_nanos: 7_000, memory_bytes: None });
    }

    #[test]
    fn a_container_that_is_gone_is_an_error_and_no_zero() {
        let folder = v1(&format!("docker/{ID}"));
        let group = Tree::open(folder.path()).unwrap().find(ID).unwrap();
        fs::remove_dir_all(folder.path().join(format!("cpuacct/docker/{ID}"))).unwrap();
        assert!(group.read(&mut [0; BUFFER]).is_err());
        assert_eq!(Tree::open(&folder.path().join("nothing")), None);
    }

    #[test]
    fn ids_are_read_out_of_the_names_that_engines_give() {
        let names = ["docker-abc.scope", "abc", "libpod-abc.scope", "cri-containerd-abc.scope"];
        assert!(names.iter().all(|name| id_in(name) == Some("abc")), "{names:?}");
    }
}
