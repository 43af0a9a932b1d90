//! What is published, and what arrives there.

use std::time::Duration;

use clap::Args as Group;

use super::{Format, List, ScopeArgs};
use crate::when;

/// `gantry routes`
#[derive(Debug, Group)]
pub struct Routes {
    /// Only those of this stack.
    pub stack: Option<String>,
    #[command(flatten)]
    pub list: List,
}

/// `gantry top`
#[derive(Debug, Group)]
pub struct Top {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Services (NAME or STACK/NAME). Without any, all of the stack.
    pub services: Vec<String>,
    /// Also replica by replica.
    #[arg(short, long)]
    pub replicas: bool,
    /// The time that rates are over, from 1s to 60s.
    #[arg(long, default_value = "10s", value_parser = when::parse_duration, value_name = "TIME")]
    pub window: Duration,
    /// Show it once.
    #[arg(long)]
    pub no_stream: bool,
    #[command(flatten)]
    pub format: Format,
}
