use std::ffi::OsStr;
use std::process::Command;

/// A command that ended.
#[derive(Debug)]
pub struct Run {
    /// What was run, for messages.
    pub line: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let output = command.output().unwrap_or_else(|error| panic!("{line}: {error}"));
        Self {
            line,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It must have succeeded; answers with what it wrote.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == Some(0), "{self}");
        self.stdout
    }

    /// It must have failed with that code; answers with what it wrote to standard error.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> String {
        assert!(self.code == Some(code), "expected exit code {code}\n{self}");
        self.stderr
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\nexit code: {:?}\nstdout:\n{}\nstderr:\n{}",
            self.line, self.code, self.stdout, self.stderr
        )
    }
}

/// Runs `docker`, which must succeed.
#[track_caller]
pub fn docker<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> String {
    docker_may_fail(args).ok().trim().to_owned()
}

/// Runs `docker`.
pub fn docker_may_fail<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    Run::of(Command::new("docker").args(args))
}
