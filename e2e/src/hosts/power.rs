//! A host as a machine: on, off, frozen.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::host::Host;
use super::process::{self, Process};
use crate::command::Run;
use crate::wait::{eventually, eventually_within};

/// The first process of a host. It stays while the host is on and buries orphans. The engine's settings
/// and identity are the host's own, and what this machine's engine has mounted is not its business.
const FIRST: &str = r#"
if [ -d /etc/docker ]; then mount --bind "$2" /etc/docker; fi
for shared in /var/lib/docker /run/docker /run/netns; do umount --recursive --lazy "$shared"; done 2>/dev/null
echo "$1" >/proc/sys/kernel/hostname
while :; do sleep 3600 & wait; done
"#;

impl Host {
    /// Switches it on, if it is off, and starts its engine, if it does not run. What was on its disk,
    /// it has again; its network is as at the first time.
    pub fn power_on(&self) {
        if self.first().is_none() {
            self.boot();
        }
        self.start_engine();
    }

    /// Switches it off at once: every process on it ends, its network is gone, and nobody is told. Its
    /// disk stays.
    pub fn power_off(&self) {
        if let Some(first) = self.first() {
            let tree = process::tree_of(first).unwrap_or_default();
            // It takes all the others along, also those that are frozen.
            process::signal("KILL", [first]);
            eventually(&format!("every process of {} ends", self.name()), || {
                process::within(&tree).is_empty().then_some(())
            });
        }
        self.unplug();
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.first().is_some()
    }

    /// Stops every process on it, until [`Host::thaw`]: it hangs, and its connections stay.
    pub fn freeze(&self) {
        eventually(&format!("{} is frozen", self.name()), || {
            let moving: Vec<_> =
                self.processes().into_iter().filter(|it| !"TtZX".contains(it.state)).collect();
            // Somebody may have been born meanwhile: until nobody moves.
            process::signal("STOP", moving.iter().map(|process| process.id));
            moving.is_empty().then_some(())
        });
    }

    /// Ends a freeze.
    pub fn thaw(&self) {
        process::signal("CONT", self.processes().into_iter().map(|process| process.id));
    }

    /// All its processes, with its containers'.
    pub(super) fn processes(&self) -> impl IntoIterator<Item = Process> + use<> {
        let tree = self.first().and_then(process::tree_of);
        tree.map(|tree| process::within(&tree)).unwrap_or_default()
    }

    /// What makes a command one of the host's processes, with its own network or that of this machine.
    #[track_caller]
    pub(super) fn inside(&self) -> [String; 7] {
        let first = self.first().unwrap_or_else(|| panic!("{} is off", self.name())).to_string();
        let words = ["nsenter", "--target", &first, "--pid", "--mount", "--uts", "--net"];
        words.map(str::to_owned)
    }

    /// Its first process.
    fn first(&self) -> Option<u32> {
        let known = fs::read_to_string(self.folder().join("first")).ok()?;
        let id: u32 = known.trim().parse().ok()?;
        // The number may be somebody else's by now.
        let inode = |path: &str| fs::metadata(path).map(|file| file.ino()).ok();
        let own = inode(&self.network())?;
        (inode(&format!("/proc/{id}/ns/net"))? == own).then_some(id)
    }

    fn boot(&self) {
        // A killed run may have got half way.
        self.unplug();
        self.plug_in();
        let settings = self.folder().join("etc-docker");
        fs::create_dir_all(&settings).unwrap();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network()));
        command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts"]);
        command.args(["sh", "-c", FIRST, "first", &self.name()]).arg(&settings);
        let outer = process::start(&mut command, &self.folder().join("first.log"));
        let first = eventually(&format!("{} boots", self.name()), || process::child(outer));
        fs::write(self.folder().join("first"), first.to_string()).unwrap();
        let name = self.name();
        // Its name is the last that it sets.
        eventually(&format!("{name} is up"), || {
            let said = Run::of(self.command("cat").arg("/proc/sys/kernel/hostname")).stdout;
            (said.trim() == name).then_some(())
        });
    }

    /// Removes the control groups that its containers were in.
    pub(super) fn remove_groups(&self) {
        let Ok(roots) = fs::read_dir("/sys/fs/cgroup") else { return };
        let mut roots: Vec<_> = roots.flatten().map(|entry| entry.path()).collect();
        roots.push("/sys/fs/cgroup".into());
        for root in roots {
            let folder = root.join(self.group().trim_start_matches('/'));
            if folder.is_dir() {
                eventually_within(Duration::from_secs(10), &format!("{} is empty", folder.display()), || {
                    remove_group(&folder);
                    (!folder.exists()).then_some(())
                });
            }
            // The last host takes the common one along.
            let _ = folder.parent().map(fs::remove_dir);
        }
    }
}

fn remove_group(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
