//! A host's Docker Engine.

use std::fs;
use std::process::Command;

use super::host::Host;
use super::process;
use crate::wait::eventually;

impl Host {
    /// Starts its engine, if it does not run, and waits until it answers.
    pub fn start_engine(&self) {
        if self.engine().is_none() {
            // A killed daemon leaves these behind, and the next one takes them for processes that run.
            for left in ["pid", "exec/containerd/containerd.pid", "docker.sock"] {
                let _ = fs::remove_file(self.folder().join(left));
            }
            let folder = self.folder().display();
            let [nsenter, how @ ..] = self.inside();
            let mut command = Command::new(nsenter);
            command.args(how).args(["setsid", "--fork", "dockerd", "--host", &self.docker_host()]);
            command.args(["--bip", &format!("172.30.{}.1/24", self.number())]);
            command.args([
                "--data-root",
                &format!("{folder}/data"),
                "--exec-root",
                &format!("{folder}/exec"),
            ]);
            command.args(["--pidfile", &format!("{folder}/pid"), "--cgroup-parent", &self.group()]);
            // The other driver asks this machine's systemd, which knows nothing of the host's processes.
            command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--log-level", "warn"]);
            // A registry of a test's has no certificate.
            command.args(["--insecure-registry", &format!("{}/24", self.address())]);
            process::start(&mut command, &self.log());
        }
        eventually(&format!("the engine of {} answers", self.name()), || {
            (self.docker_may_fail(["version"]).code == Some(0)).then_some(())
        });
    }

    /// Stops it in order, as an update of its package does; its containers end.
    pub fn stop_engine(&self) {
        self.end_engine("TERM");
    }

    /// Ends it with SIGKILL; its containers go on.
    pub fn kill_engine(&self) {
        self.end_engine("KILL");
    }

    /// Makes it hang, until [`Host::thaw`].
    pub fn hang_engine(&self) {
        process::signal("STOP", self.engine());
    }

    /// Stops and starts it.
    pub fn restart_engine(&self) {
        self.stop_engine();
        self.start_engine();
    }

    /// The last lines that it wrote.
    pub fn engine_log(&self, lines: usize) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(lines).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder().join("dockerd.log")
    }

    /// Its daemon.
    fn engine(&self) -> Option<u32> {
        let lives = |process: &process::Process| process.name == "dockerd" && process.state != 'Z';
        self.processes().into_iter().find(lives).map(|process| process.id)
    }

    fn end_engine(&self, signal: &str) {
        let daemon = self.engine().unwrap_or_else(|| panic!("the engine of {} does not run", self.name()));
        process::signal(signal, [daemon]);
        let gone = |names: [&str; 2]| {
            let mut all = self.processes().into_iter();
            !all.any(|process| process.state != 'Z' && names.contains(&process.name.as_str()))
        };
        // Its containerd ends with it, and the next daemon must not find it half alive.
        eventually(&format!("the engine of {} ends", self.name()), || {
            gone(["dockerd", "containerd"]).then_some(())
        });
    }
}
