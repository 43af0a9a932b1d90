//! What runs, what it writes and uses, and what happened to it.

use std::time::Duration;

use clap::{Args as Group, ValueEnum};

use super::{FileArgs, Format, List, ScopeArgs, Shape};
use crate::when;

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
    /// Show the last minutes of one service: what was asked of it, and what its replicas used.
    #[arg(long, conflicts_with = "no_stream")]
    pub history: bool,
    /// How much of it, up to 15m.
    #[arg(long, requires = "history", default_value = "15m", value_parser = when::parse_duration, value_name = "TIME")]
    pub last: Duration,
    /// How to show it. csv is for --history only: second by second, as `gantry autoscale simulate --load` takes it.
    #[arg(long, value_enum, default_value_t, value_name = "SHAPE")]
    pub format: StatsShape,
}

/// How what was used is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum StatsShape {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
    /// For spreadsheets.
    Csv,
}

impl StatsShape {
    /// The same among those that all commands have; `None` for the one that they have not.
    pub fn shape(self) -> Option<Shape> {
        match self {
            Self::Table => Some(Shape::Table),
            Self::Json => Some(Shape::Json),
            Self::Yaml => Some(Shape::Yaml),
            Self::Csv => None,
        }
    }
}

/// `gantry advise`
#[derive(Debug, Group)]
pub struct Advise {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Services (NAME or STACK/NAME). Without any, all of the stack.
    pub services: Vec<String>,
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
