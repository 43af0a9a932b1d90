//! Network namespaces, each held by a process that ends with the test.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::NamedTempFile;

const INSIDE: &str = "GANTRY_TEST_INSIDE";
const ROLE: &str = "GANTRY_TEST_ROLE";

/// What this process is for, if it is not the test itself.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Runs a test again in a fresh network namespace. Answers whether this is the run inside.
pub fn run_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    for program in ["ip", "nft", "nsenter"] {
        if Command::new(program).arg("-V").output().is_err() {
            eprintln!("skipped: {program} is not installed");
            return false;
        }
    }
    let run = Command::new("unshare")
        .args(["--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    match run {
        Err(error) => eprintln!("skipped: cannot run unshare: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if said.starts_with("unshare:") {
                eprintln!("skipped: no network namespace can be made here: {said}");
            } else {
                let text = String::from_utf8_lossy(&output.stdout).into_owned() + &said;
                assert!(output.status.success() && text.contains("1 passed"), "{text}");
            }
        }
    }
    false
}

/// A network namespace.
pub struct Space {
    /// The process that holds it; `None` for the one that the test itself is in.
    holder: Option<Child>,
}

impl Space {
    /// The test's own.
    pub fn own() -> Self {
        Self { holder: None }
    }

    /// A new one.
    pub fn new() -> Self {
        // It ends when its input does, so with the test, however that ends.
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo ready; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { holder: Some(holder) }
    }

    /// The process by which others find it.
    pub fn id(&self) -> u32 {
        self.holder.as_ref().map_or_else(std::process::id, Child::id)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.id())).arg(program);
        command
    }

    /// Runs `ip`.
    pub fn ip(&self, arguments: &str) {
        self.sh(&format!("ip {arguments}"));
    }

    /// Runs a shell's command.
    pub fn sh(&self, script: &str) {
        let output = self.command("sh").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs this test's program there in another role.
    pub fn role(&self, test: &str, role: &str) -> Running {
        let output = NamedTempFile::new().unwrap();
        let file = File::create(output.path()).unwrap();
        let child = self
            .command(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, role)
            .stderr(file.try_clone().unwrap())
            .stdout(file)
            .spawn()
            .unwrap();
        Running { child, output }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            if let Some(mut input) = holder.stdin.take() {
                let _ = input.write_all(b"\n");
            }
            let _ = holder.wait();
        }
    }
}

/// A process in a role; it ends with its handle.
pub struct Running {
    child: Child,
    output: NamedTempFile,
}

impl Running {
    /// Waits for its end.
    pub fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.output.path()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
