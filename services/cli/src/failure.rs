//! What went wrong, for people, and the exit code that says so to programs.

use std::fmt;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use gantry_boot::ConnectError;
use owo_colors::OwoColorize as _;
use tonic::{Code, Status};

/// What kind of end it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It did not work.
    Error,
    /// What was asked makes no sense; nothing was changed.
    BadInput,
    /// It took too long; it may still come.
    TimedOut,
}

/// Why a command ends without success.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
    /// Printed as it is, before the message: diagnostics, logs.
    details: String,
}

/// What commands answer with.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// It did not work.
    pub fn error(message: impl Into<String>) -> Self {
        Self { kind: Kind::Error, message: message.into(), hint: None, details: String::new() }
    }

    /// What was asked makes no sense.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self { kind: Kind::BadInput, ..Self::error(message) }
    }

    /// It took too long.
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self { kind: Kind::TimedOut, ..Self::error(message) }
    }

    /// What to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What is shown before it.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// Says it on standard error.
    pub fn print(&self) {
        let mut text = String::new();
        if !self.details.is_empty() {
            text.push_str(self.details.trim_end());
            text.push('\n');
        }
        if !self.message.is_empty() {
            let label = "error:";
            let label = if colours() { label.red().bold().to_string() } else { label.to_owned() };
            text.push_str(&format!("{label} {}\n", self.message));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("  {hint}\n"));
        }
        // The terminal may be gone; there is nobody left to tell then.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    }

    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Error => 1,
            Kind::BadInput => 2,
            Kind::TimedOut => 4,
        })
    }
}

/// Whether standard error takes colours.
pub fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        use std::error::Error as _;
        // A server's answer has no cause; what has one happened on the way.
        if let Some(cause) = status.source() {
            return Self::error(format!("the connection was lost: {}", gantry_boot::chain(cause)))
                .hint("is it restarting? try again in a moment; `gantry init` starts what does not run");
        }
        let message = describe(&status);
        match status.code() {
            Code::InvalidArgument => Self::bad_input(message),
            Code::PermissionDenied | Code::Unauthenticated => {
                Self::error(message).hint("use a context of another role: `gantry context ls`")
            }
            Code::Unimplemented => {
                Self::error(message).hint("is the cluster older than this tool? `gantry version` shows both")
            }
            _ => Self::error(message),
        }
    }
}

fn describe(status: &Status) -> String {
    match status.message() {
        "" => format!("the server gave no reason ({})", status.code()),
        message => message.to_owned(),
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let hint = match &error {
            ConnectError::Address { .. } => None,
            ConnectError::Unreachable { .. } => {
                Some("is the cluster running? `docker ps` shows its containers, `gantry init` starts one")
            }
            ConnectError::Refused { .. } => {
                Some("is it another cluster? `gantry context ls` shows those that are known")
            }
            ConnectError::Expired { .. } => {
                Some("on the machine where the cluster was made, `gantry init` makes a new one")
            }
            ConnectError::NotYet | ConnectError::Unusable(_) | ConnectError::OtherCluster { .. } => None,
        };
        let failure = match &error {
            ConnectError::Address { .. } => Self::bad_input(error.to_string()),
            _ => Self::error(error.to_string()),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
