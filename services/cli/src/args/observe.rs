//! What runs, what it writes and uses, and what happened to it.

use clap::Args as Group;

use super::{FileArgs, Format, List, ScopeArgs};

/// `gantry ps`
#[derive(Debug, Group)]
pub struct Ps {
    #[command(flatten)]
    pub file: FileArgs,
    /// A stack, or a service. Without it, the stack of the Compose file, else all.
    pub subject: Option<String>,
    #[command(flatten)]
    pub list: List,
}

/// `gantry logs`
#[derive(Debug, Group)]
pub struct Logs {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Services (NAME or STACK/NAME) or ids of replicas. Without any, all of the stack.
    pub subjects: Vec<String>,
    /// Go on as more is written.
    #[arg(short, long)]
    pub follow: bool,
    /// At most that many of the last lines of each replica.
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<u32>,
    /// Leave out what was written before: a time, or how long ago (10m).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Show when each line was written.
    #[arg(short, long)]
    pub timestamps: bool,
    /// Do not say whose line it is.
    #[arg(long)]
    pub no_log_prefix: bool,
}

/// `gantry stats`
#[derive(Debug, Group)]
pub struct Stats {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Services. Without any, all of the stack.
    pub services: Vec<String>,
    /// Show it once.
    #[arg(long)]
    pub no_stream: bool,
    #[command(flatten)]
    pub format: Format,
}

/// `gantry events`
#[derive(Debug, Group)]
pub struct Events {
    /// A stack, a service, or node:NAME. Without it, everything.
    pub subject: Option<String>,
    /// Go on as more happens.
    #[arg(short, long)]
    pub follow: bool,
    /// At most that many of the newest.
    #[arg(short = 'n', long, default_value_t = 100, value_name = "COUNT")]
    pub limit: u32,
    #[command(flatten)]
    pub format: Format,
}

/// `gantry why`
#[derive(Debug, Group)]
pub struct Why {
    #[command(flatten)]
    pub file: FileArgs,
    /// The service (NAME or STACK/NAME).
    pub service: String,
    #[command(flatten)]
    pub format: Format,
}
