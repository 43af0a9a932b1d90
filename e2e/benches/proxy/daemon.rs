//! A process that the bench starts, pins, asks for its costs, and ends.

use std::error::Error;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The unit of times in `/proc/PID/stat`: 100 a second on every Linux that Gantry runs on.
const TICK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A process and its children; ended when dropped.
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` on `core`, with as many open files as are allowed. What it says goes to a file
    /// in `folder`.
    pub fn start(name: &str, core: &str, folder: &Path, command: &[&str]) -> Result<Self, Box<dyn Error>> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = pinned(core, command)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits until something answers on `port`.
    pub fn wait_for(&self, port: u16) -> Result<(), Box<dyn Error>> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                return Err(format!("{} does not listen on port {port}\n{}", self.name, self.log()).into());
            }
            rest(POLL);
        }
        Ok(())
    }

    /// The time on the processor that the process and its children had so far.
    pub fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        let mut ticks = 0;
        for pid in self.family()? {
            // The times are the fields 14 and 15; the name in field 2 may hold spaces.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            for at in [11, 12] {
                ticks += fields.get(at).ok_or("a short /proc/PID/stat")?.parse::<u32>()?;
            }
        }
        Ok(TICK * ticks)
    }

    /// What the process and its children hold in memory, in bytes.
    pub fn memory(&self) -> Result<f64, Box<dyn Error>> {
        let mut kibibytes = 0;
        for pid in self.family()? {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let text = line.ok_or_else(|| self.ended())?;
            kibibytes += text.trim().trim_end_matches(" kB").parse::<u32>()?;
        }
        Ok(f64::from(kibibytes) * 1024.0)
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn ended(&self) -> String {
        format!("{} has ended\n{}", self.name, self.log())
    }

    fn family(&self) -> Result<Vec<u32>, Box<dyn Error>> {
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while let Some(&parent) = found.get(at) {
            let tasks = fs::read_dir(format!("/proc/{parent}/task")).map_err(|_| self.ended())?;
            for task in tasks {
                let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
                found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            at += 1;
        }
        Ok(found)
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                return false;
            }
            rest(POLL);
        }
        true
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked first: an nginx that is killed leaves its worker behind.
        let family = self.family().unwrap_or_default();
        signal("-TERM", &[self.child.id()]);
        if !self.ends_within(Duration::from_secs(2)) {
            signal("-KILL", &family);
            let _ = self.child.wait();
        }
    }
}

fn signal(which: &str, pids: &[u32]) {
    // One that has ended meanwhile is no trouble, and nothing else can be done about an error here.
    let _ = Command::new("kill")
        .arg(which)
        .args(pids.iter().map(ToString::to_string))
        .stderr(Stdio::null())
        .status();
}

/// `command` on `core`, which ends with the bench even if that is killed. Each of these programs becomes
/// the next, so that the process id is that of the last.
pub fn pinned(core: &str, command: &[&str]) -> Command {
    let (program, arguments) = command.split_first().unwrap_or((&"true", &[]));
    let program = find(program).unwrap_or_else(|| PathBuf::from(program));
    let mut pinned = Command::new("setpriv");
    pinned
        .args(["--pdeathsig", "TERM", "prlimit"])
        .arg(format!("--nofile={}", open_files()))
        .args(["taskset", "-c", core])
        .arg(program)
        .args(arguments);
    pinned
}

/// How many files a process may open at the most.
pub fn open_files() -> u32 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(1024)
}

/// Where a program is. Debian puts some where only root looks.
pub fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).is_file().then(|| name.into());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file())
}

/// For polling, and to let memory settle: here nothing tells when.
#[allow(clippy::disallowed_methods)]
pub fn rest(time: Duration) {
    thread::sleep(time);
}
