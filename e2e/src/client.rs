use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::command::Run;

/// `gantry` as a user has it, with a folder of its own for contexts and files.
pub struct Client {
    folder: PathBuf,
    /// Removes the folder with the client.
    _own: Option<TempDir>,
    /// What the command is run by, and its engine as `DOCKER_HOST` has it.
    from: Option<(Vec<String>, String)>,
}

impl Client {
    /// One at this machine.
    pub fn here() -> Self {
        // Before anything is started: without it nothing can be.
        gantry();
        let own = TempDir::new().unwrap();
        Self { folder: own.path().to_owned(), _own: Some(own), from: None }
    }

    /// One at this machine whose folder stays.
    pub fn with_folder(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        Self { folder: folder.to_owned(), _own: None, from: None }
    }

    /// One that another command runs, such as one that enters a namespace, and that uses another engine.
    pub fn through(command: &[&str], docker_host: &str) -> Self {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Self { from: Some((command, docker_host.to_owned())), ..Self::here() }
    }

    /// `gantry`, set up for this client.
    pub fn command(&self) -> Command {
        let mut command = match &self.from {
            Some((words, docker_host)) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).arg(gantry()).env("DOCKER_HOST", docker_host);
                command
            }
            None => Command::new(gantry()),
        };
        command
            .env("GANTRY_CONFIG", &self.folder)
            .env("NO_COLOR", "1")
            .env_remove("GANTRY_CONTEXT")
            .env_remove("GANTRY_HOST")
            .env_remove("COMPOSE_FILE")
            .env_remove("COMPOSE_PROJECT_NAME")
            .current_dir(&self.folder);
        command
    }

    /// Runs `gantry`.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        Run::of(self.command().args(args))
    }

    /// Runs `gantry`, which must succeed.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        self.run(args).ok()
    }

    /// Runs `gantry … --format json`, which must succeed.
    #[track_caller]
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        let run = Run::of(self.command().args(args).args(["--format", "json"]));
        let line = run.line.clone();
        let text = run.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}\n{text}"))
    }

    /// The same; `None` if the command failed, as it may while something is down.
    pub fn json_may_fail<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Option<Value> {
        let run = Run::of(self.command().args(args).args(["--format", "json"]));
        serde_json::from_str(&run.stdout).ok().filter(|_| run.code == Some(0))
    }

    /// Writes a Compose file of the test's, and answers with its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let folder = self.folder.join("files").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("compose.yaml");
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// A folder of the test's.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a context, which holds the certificate.
    pub fn context_file(&self, name: &str) -> PathBuf {
        self.folder.join("contexts").join(format!("{name}.json"))
    }

    /// The replicas of a stack, as `gantry ps` shows them.
    #[track_caller]
    pub fn replicas(&self, stack: &str) -> Vec<Value> {
        self.json(["ps", stack]).as_array().unwrap().clone()
    }
}

/// The release binary, as users have it.
pub fn gantry() -> PathBuf {
    let path = std::env::var_os("GANTRY_BIN").map(PathBuf::from);
    path.expect("run these tests with `make e2e`: it says where the binary is")
}
