use std::ffi::OsStr;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::command::{Run, docker};
use crate::wait::{after, eventually};

/// A Docker Engine of the test's own, which may be killed: in a network namespace, with its own folders.
pub struct Engine {
    name: String,
    folder: TempDir,
    daemon: Option<Child>,
}

/// What the engine's containers are made from.
const IMAGES: [&str; 3] = ["gantry/scheduler", "gantry/agent", "gantry/proxy"];
const PROBE: &str = "gantry-e2e/probe";

impl Engine {
    /// Starts one whose namespace has that name and a link to this host, and gives it the images.
    pub fn start(name: &str) -> Self {
        let engine = Self { name: name.to_owned(), folder: TempDir::new().unwrap(), daemon: None };
        engine.remove_namespace();
        let (outer, inner) = (format!("{name}-host"), format!("{name}-eth"));
        for line in [
            format!("netns add {name}"),
            format!("link add {outer} type veth peer name {inner} netns {name}"),
            format!("addr add 10.98.0.1/30 dev {outer}"),
            format!("link set {outer} up"),
            format!("-n {name} addr add 10.98.0.2/30 dev {inner}"),
            format!("-n {name} link set {inner} up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} route add default via 10.98.0.1"),
        ] {
            Run::of(Command::new("ip").args(line.split(' '))).ok();
        }
        let mut engine = engine;
        engine.resume();
        engine.load();
        engine
    }

    /// Starts the daemon, which was not there or was killed, and waits until it answers.
    pub fn resume(&mut self) {
        assert!(self.daemon.is_none(), "the engine runs already");
        self.spawn();
        eventually("the engine answers", || self.answers().then_some(()));
    }

    fn answers(&self) -> bool {
        self.docker_may_fail(["version"]).code == Some(0)
    }

    fn spawn(&mut self) {
        let folder = self.folder.path().display();
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        // A killed daemon leaves these behind, and the next one takes them for processes that run.
        for left in ["pid", "exec/containerd/containerd.pid"] {
            let _ = std::fs::remove_file(self.folder.path().join(left));
        }
        let daemon = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.name))
            .args(["dockerd", "--bip", "172.30.9.1/24", "--host", &self.host()])
            .args(["--data-root", &format!("{folder}/data"), "--exec-root", &format!("{folder}/exec")])
            .args(["--pidfile", &format!("{folder}/pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        eventually("the engine answers", || {
            (self.docker_may_fail(["version"]).code == Some(0)).then_some(())
        });
    }

    /// Ends the daemon with SIGKILL.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("the engine runs");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Makes the daemon hang, until what this answers with is dropped.
    pub fn hang(&self) -> Hang {
        let hang = Hang { id: self.daemon.as_ref().expect("the engine runs").id().to_string() };
        hang.signal("STOP");
        hang
    }

    /// Where it listens, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.path().display())
    }

    /// The network namespace that it runs in.
    pub fn namespace(&self) -> &str {
        &self.name
    }

    /// Runs `docker` on it.
    pub fn docker_may_fail<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        Run::of(Command::new("docker").env("DOCKER_HOST", self.host()).args(args))
    }

    fn load(&self) {
        let archive = self.folder.path().join("images.tar").to_string_lossy().into_owned();
        let ours = docker(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let names =
            ours.lines().filter(|name| name.rsplit_once(':').is_some_and(|(name, _)| IMAGES.contains(&name)));
        docker(["save", "-o", &archive, PROBE].into_iter().chain(names));
        self.docker_may_fail(["load", "-q", "-i", &archive]).ok();
    }

    fn remove_namespace(&self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status();
        let outer = format!("{}-host", self.name);
        let _ = Command::new("ip").args(["link", "del", &outer]).stderr(Stdio::null()).status();
    }
}

/// An engine that hangs.
pub struct Hang {
    id: String,
}

impl Hang {
    fn signal(&self, signal: &str) {
        Run::of(Command::new("kill").args(["-s", signal, &self.id])).ok();
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("--- dockerd\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        if self.daemon.is_none() {
            // A killed daemon leaves containers that run: only a daemon can end them.
            self.spawn();
            for _ in 0..100 {
                if self.answers() {
                    break;
                }
                after(Duration::from_millis(100));
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            let containers = self.docker_may_fail(["ps", "-aq"]).stdout;
            if !containers.is_empty() {
                self.docker_may_fail(["rm", "-f"].into_iter().chain(containers.lines()));
            }
            // An orderly end, so that it unmounts what it mounted and ends its containerd.
            let _ = Command::new("kill").args(["-s", "TERM", &daemon.id().to_string()]).status();
            let _ = daemon.wait();
        }
        self.remove_namespace();
    }
}
