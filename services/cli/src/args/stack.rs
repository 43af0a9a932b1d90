//! What a stack is to run.

use std::time::Duration;

use clap::Args as Group;

use super::FileArgs;
use crate::when;

/// `gantry up`
#[derive(Debug, Group)]
pub struct Up {
    #[command(flatten)]
    pub file: FileArgs,
    /// Do not wait until everything runs.
    #[arg(short, long)]
    pub detach: bool,
    /// Build images also where they are there already.
    #[arg(long)]
    pub build: bool,
    /// Make new containers also where nothing changed.
    #[arg(long)]
    pub force_recreate: bool,
    /// How long to wait.
    #[arg(long, default_value = "5m", value_parser = when::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// `gantry down`
#[derive(Debug, Group)]
pub struct Down {
    #[command(flatten)]
    pub file: FileArgs,
    /// The stack. Without it, that of the Compose file.
    pub stack: Option<String>,
    /// Also its named volumes, and what is in them.
    #[arg(short, long)]
    pub volumes: bool,
    /// Do not wait until everything is gone.
    #[arg(short, long)]
    pub detach: bool,
    /// How long to wait.
    #[arg(long, default_value = "2m", value_parser = when::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// `gantry scale`
#[derive(Debug, Group)]
pub struct Scale {
    #[command(flatten)]
    pub file: FileArgs,
    /// SERVICE=COUNT, several if wanted.
    #[arg(required = true, value_name = "SERVICE=COUNT")]
    pub counts: Vec<String>,
    /// Do not wait.
    #[arg(short, long)]
    pub detach: bool,
    /// How long to wait.
    #[arg(long, default_value = "2m", value_parser = when::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// Commands on services.
#[derive(Debug, Group)]
pub struct Services {
    #[command(flatten)]
    pub file: FileArgs,
    /// Services (NAME or STACK/NAME). Without any, all of the stack.
    #[arg(value_name = "SERVICES")]
    pub names: Vec<String>,
    /// Do not wait.
    #[arg(short, long)]
    pub detach: bool,
    /// How long to wait.
    #[arg(long, default_value = "2m", value_parser = when::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
}
