use std::ffi::OsStr;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::command::Run;
use crate::hosts::{Host, process};
use crate::wait::{after, eventually};

/// The name of the cluster under test. Tests run one after the other, so one is enough.
const NAME: &str = "e2e";
const PORT_BASE: u16 = 7570;
/// Beside the default, so that a cluster of the user's can go on meanwhile.
const POOL: &str = "10.160.0.0/11";

/// The parts of Gantry that are containers.
pub const PARTS: [&str; 4] = ["scheduler", "agent", "proxy", "watchdog"];

/// A whole cluster on this machine's engine.
pub struct Cluster {
    client: Client,
    /// `DOCKER_HOST` of an engine of the test's own.
    engine: Option<String>,
    id: OnceLock<String>,
}

impl Cluster {
    /// Starts a new one, with nothing of any before.
    pub fn start() -> Self {
        let cluster = Self { client: Client::here(), engine: None, id: OnceLock::new() };
        cluster.clear();
        cluster.init();
        // Known from the start, so that it can be told while the scheduler is away.
        cluster.id();
        cluster
    }

    /// Starts a new one on another host than this machine, with a client there.
    pub fn start_on(host: &Host) -> Self {
        let client = Client::through(&["nsenter", &format!("--net={}", host.network())], &host.docker_host());
        let cluster = Self { client, engine: Some(host.docker_host()), id: OnceLock::new() };
        cluster.init();
        // Known from the start, so that it can be told while the scheduler is away.
        cluster.id();
        cluster
    }

    /// Ends a part's process with SIGKILL, as the kernel does when memory runs out, and starts it again. The
    /// engine would too, but waits twice as long each time.
    pub fn kill(&self, part: &str) {
        self.docker(["kill", &self.container(part)]);
        self.docker(["start", &self.container(part)]);
    }

    /// Does something while a part is not there; ends with it up again.
    pub fn without<T>(&self, part: &str, act: impl FnOnce() -> T) -> T {
        self.docker(["kill", &self.container(part)]);
        let done = act();
        self.start_part(part);
        done
    }

    /// Starts a part that was ended, and waits until it says that it serves.
    pub fn start_part(&self, part: &str) {
        let container = self.container(part);
        let said = || {
            let logs = self.docker_may_fail(["logs", &container]);
            format!("{}{}", logs.stdout, logs.stderr).matches(&format!("{part} ready")).count()
        };
        let before = said();
        self.docker(["start", &container]);
        eventually(&format!("the {part} serves"), || (said() > before).then_some(()));
    }

    /// Does something, and ends a part meanwhile as [`Cluster::kill`] does, after so long.
    pub fn while_killed<T>(&self, part: &str, moment: Duration, act: impl FnOnce() -> T) -> T {
        eprintln!("the {part} is killed {} ms later", moment.as_millis());
        thread::scope(|scope| {
            let killing = scope.spawn(move || {
                after(moment);
                self.kill(part);
            });
            let done = act();
            killing.join().unwrap();
            done
        })
    }

    /// Sends a signal to the process of a container, as somebody at the host does: the engine is not told.
    pub fn signal(&self, container: &str, signal: &str) {
        let id = self.process(container);
        Run::of(Command::new("kill").args(["-s", signal, &id.to_string()])).ok();
    }

    /// The number of a container's first process at this machine.
    pub fn process(&self, container: &str) -> u32 {
        let id: u32 = self.docker(["inspect", "-f", "{{.State.Pid}}", container]).parse().unwrap();
        assert!(id > 0, "{container} does not run");
        id
    }

    /// How many processes of a container have ended and were not buried by anybody.
    pub fn zombies(&self, container: &str) -> usize {
        process::zombies_below(self.process(container))
    }

    /// Runs `docker` on the cluster's engine, which must succeed.
    #[track_caller]
    pub fn docker<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.docker_may_fail(args).ok().trim().to_owned()
    }

    /// Runs `docker` on the cluster's engine.
    pub fn docker_may_fail<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let mut command = Command::new("docker");
        if let Some(host) = &self.engine {
            command.env("DOCKER_HOST", host);
        }
        Run::of(command.args(args))
    }

    /// Starts what is not running, and changes what is outdated.
    pub fn init(&self) -> String {
        let base = PORT_BASE.to_string();
        self.ok(["init", "--name", NAME, "--node-name", "n1", "--port-base", &base, "--pool", POOL])
    }

    /// The same, with something else in the environment of `gantry init`.
    pub fn init_with(&self, environment: &[(&str, &str)]) -> String {
        let base = PORT_BASE.to_string();
        let args = ["init", "--name", NAME, "--node-name", "n1", "--port-base", &base, "--pool", POOL];
        Run::of(self.command().args(args).envs(environment.iter().copied())).ok()
    }

    fn clear(&self) {
        self.run(["leave", "--name", NAME, "--force", "--volumes"]).ok();
    }

    /// The name of a part's container: one of [`PARTS`].
    pub fn container(&self, part: &str) -> String {
        format!("gantry-{NAME}-{part}")
    }

    /// The folder of a part's data.
    pub fn data(&self, part: &str) -> PathBuf {
        let folder = self.docker(["volume", "inspect", "-f", "{{.Mountpoint}}", &self.container(part)]);
        assert!(folder.starts_with('/'), "{folder}");
        PathBuf::from(folder)
    }

    /// The scheduler's address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{PORT_BASE}")
    }

    /// The agent's address.
    pub fn agent_address(&self) -> String {
        format!("127.0.0.1:{}", PORT_BASE + 1)
    }

    /// The context's file, which holds the certificate.
    pub fn context_file(&self) -> PathBuf {
        self.client.context_file(NAME)
    }

    /// The cluster's id.
    pub fn id(&self) -> String {
        let ask = || self.json(["version"])["id"].as_str().unwrap().to_owned();
        self.id.get_or_init(ask).clone()
    }

    /// The ids of all containers of this cluster's stacks, also of those that do not run.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("label=gantry.cluster={}", self.id());
        let ids = self.docker_may_fail(["ps", "-aq", "--no-trunc", "--filter", &filter]).ok();
        ids.lines().map(str::to_owned).collect()
    }
}

impl Deref for Cluster {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What one wants to know first.
            for part in PARTS {
                let log = self.docker_may_fail(["logs", "--tail", "40", &self.container(part)]);
                eprintln!("--- {part}\n{}{}", log.stdout, log.stderr);
            }
            eprintln!("--- gantry ps\n{}", self.run(["ps"]));
            if std::env::var_os("GANTRY_E2E_KEEP").is_some() {
                return;
            }
        }
        let left = self.run(["leave", "--name", NAME, "--force", "--volumes"]);
        if left.code != Some(0) {
            eprintln!("cannot clear up: {left}");
        }
    }
}
