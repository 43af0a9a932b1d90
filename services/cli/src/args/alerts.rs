//! What people are told of.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::{Format, List};
use crate::when;

/// `gantry alerts`
#[derive(Debug, Subcommand)]
pub enum Alerts {
    /// List the alerts that are active.
    Ls(List),
    /// List active and past alerts, newest first, with what receivers answered.
    History {
        /// A stack, a service, or node:NAME. Without it, everything.
        subject: Option<String>,
        /// At most that many.
        #[arg(short = 'n', long, default_value_t = 50, value_name = "COUNT")]
        limit: u32,
        #[command(flatten)]
        list: List,
    },
    /// Keep alerts from being sent for a while.
    Silence {
        /// Alerts about this: STACK/SERVICE, node:NAME or cluster; * stands for any text.
        #[arg(required_unless_present_any = ["rule", "all"])]
        subject: Option<String>,
        /// Alerts of this rule; * stands for any text.
        #[arg(long, value_name = "NAME")]
        rule: Option<String>,
        /// All alerts.
        #[arg(long, conflicts_with_all = ["subject", "rule"])]
        all: bool,
        /// For how long.
        #[arg(long = "for", value_parser = when::parse_duration, default_value = "1h", value_name = "TIME")]
        time: Duration,
        /// Why, for others.
        #[arg(short = 'm', long, default_value = "", hide_default_value = true, value_name = "TEXT")]
        comment: String,
    },
    /// List the silences.
    Silences(List),
    /// End silences; what is still active is sent then.
    Unsilence {
        /// Their ids, as `gantry alerts silences` shows them.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Send a test notice to receivers, and show what they answered.
    Test {
        /// Their names. Without any, all.
        receivers: Vec<String>,
        #[command(flatten)]
        list: List,
    },
    /// Show the rules and the receivers, without their secrets.
    Rules {
        /// Show what rules can look at instead.
        #[arg(long)]
        metrics: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Replace the rules and the receivers by those of a file. Takes the role admin.
    Apply {
        /// The file, or - for standard input.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Only say what is wrong with the file, whatever the role.
        #[arg(long)]
        check: bool,
    },
}
