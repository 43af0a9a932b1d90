//! Scaling by load.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Subcommand, ValueEnum};

use super::{FileArgs, Format, List};
use crate::when;

/// `gantry autoscale`
#[derive(Debug, Subcommand)]
pub enum Autoscale {
    /// List the services that are scaled by their load: their bounds, what is measured, and what was decided.
    Ls {
        /// The stack. Without it, all.
        stack: Option<String>,
        #[command(flatten)]
        list: List,
    },
    /// Change how a service is scaled, until it is deployed anew; what is not named stays.
    #[command(
        after_help = "A target of 0 takes it away. What is set here holds until the next `gantry up` of its stack: write it into the Compose file to keep it."
    )]
    Set(Box<Set>),
    /// Leave the count of a service to people: it stays as it is.
    Off {
        /// The service: SERVICE of the stack here, or STACK/SERVICE.
        service: String,
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        format: Format,
    },
    /// Replay a load, and show how many replicas it would get and when.
    #[command(
        after_help = "The file has lines of a time and the requests a second from then on, such as 60,250 or 2026-01-31T12:00:00Z,250; its last line is the end. Further columns are left out. Nothing is asked of a cluster, except with --recorded."
    )]
    Simulate(Box<Simulate>),
}

/// `gantry autoscale set`
#[derive(Debug, Group)]
pub struct Set {
    /// The service: SERVICE of the stack here, or STACK/SERVICE.
    pub service: String,
    #[command(flatten)]
    pub file: FileArgs,
    #[command(flatten)]
    pub targets: Targets,
    /// Memory of a replica, such as 80%.
    #[arg(long, value_parser = parse_percent, value_name = "SHARE")]
    pub memory: Option<u32>,
    /// Whether the count is set, or only recommended. A service that was off is on again without it.
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    #[command(flatten)]
    pub format: Format,
}

/// Whether a count is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// It is.
    Auto,
    /// It is only said what it would be.
    Recommend,
    /// Nothing is done.
    Off,
}

/// `gantry autoscale simulate`
#[derive(Debug, Group)]
pub struct Simulate {
    /// The load: a CSV file, or - for standard input.
    #[arg(long, value_name = "FILE.csv", required_unless_present = "recorded")]
    pub load: Option<PathBuf>,
    /// The load is what was asked of the service in the cluster in the last 15 minutes. Without -f, it is tried as
    /// it is deployed.
    #[arg(long, conflicts_with = "load", requires = "service")]
    pub recorded: bool,
    /// How much of it, up to 15m.
    #[arg(long, requires = "recorded", default_value = "15m", value_parser = when::parse_duration, value_name = "TIME")]
    pub last: Duration,
    #[command(flatten)]
    pub file: FileArgs,
    /// The service of the Compose file whose x-gantry.autoscale is tried. Without it, and without -f, the
    /// options below say everything.
    pub service: Option<String>,
    #[command(flatten)]
    pub targets: Targets,
    #[command(flatten)]
    pub replica: Replica,
    #[command(flatten)]
    pub format: Format,
}

/// Bounds and targets, instead of those that hold.
#[derive(Debug, Default, Group)]
#[command(next_help_heading = "Bounds and targets")]
pub struct Targets {
    /// The fewest replicas.
    #[arg(long, value_name = "COUNT")]
    pub min: Option<u32>,
    /// The most replicas.
    #[arg(long, value_name = "COUNT")]
    pub max: Option<u32>,
    /// Processor time of a replica, such as 70%.
    #[arg(long, value_parser = parse_percent, value_name = "SHARE")]
    pub cpu: Option<u32>,
    /// Requests a second for each replica.
    #[arg(long, value_name = "NUMBER")]
    pub rps: Option<f64>,
    /// Requests in flight for each replica.
    #[arg(long, value_name = "NUMBER")]
    pub concurrency: Option<f64>,
    /// 95% of answers begin within this time.
    #[arg(long, value_parser = when::parse_duration, value_name = "TIME")]
    pub p95: Option<Duration>,
    /// 99% of answers begin within this time.
    #[arg(long, value_parser = when::parse_duration, value_name = "TIME")]
    pub p99: Option<Duration>,
    /// How long the load must be above its targets.
    #[arg(long, value_parser = when::parse_duration, value_name = "TIME")]
    pub scale_up_after: Option<Duration>,
    /// How long fewer replicas must have been enough.
    #[arg(long, value_parser = when::parse_duration, value_name = "TIME")]
    pub scale_down_after: Option<Duration>,
}

/// What a replica is like.
#[derive(Debug, Group)]
#[command(next_help_heading = "What a replica is like")]
pub struct Replica {
    /// Requests a second that one replica serves at most. Without it, so many that the target of rps is
    /// 70% of it.
    #[arg(long, value_name = "NUMBER")]
    pub capacity: Option<f64>,
    /// From the decision to a replica that takes traffic.
    #[arg(long, default_value = "5s", value_parser = when::parse_duration, value_name = "TIME")]
    pub start: Duration,
    /// How long a request takes on a replica that has nothing else to do.
    #[arg(long, default_value = "20ms", value_parser = when::parse_duration, value_name = "TIME")]
    pub latency: Duration,
    /// With how many replicas it begins. Without it, with the fewest.
    #[arg(long, value_name = "COUNT")]
    pub first: Option<u32>,
}

fn parse_percent(text: &str) -> Result<u32, String> {
    let share = text.strip_suffix('%').unwrap_or(text).trim();
    share.parse().map_err(|_| format!("{text:?} is no share: write one such as 70%"))
}
