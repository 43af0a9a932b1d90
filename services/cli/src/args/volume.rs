//! `gantry volume`: the volumes of stacks.

use std::time::Duration;

use clap::Subcommand;

use super::{Format, List};
use crate::when;

/// `gantry volume`
#[derive(Debug, Subcommand)]
pub enum Volume {
    /// List the volumes of stacks.
    Ls {
        /// Only those of this stack.
        stack: Option<String>,
        #[command(flatten)]
        list: List,
    },
    /// Show one volume.
    Inspect {
        /// STACK/VOLUME.
        #[arg(value_name = "STACK/VOLUME")]
        volume: String,
        #[command(flatten)]
        format: Format,
    },
    /// Say what a volume of a stack is to be, before it is used first.
    Create {
        /// STACK/VOLUME.
        #[arg(value_name = "STACK/VOLUME")]
        volume: String,
        /// Its name on the engine. Without it, made of both.
        #[arg(long)]
        name: Option<String>,
        /// The driver.
        #[arg(short, long)]
        driver: Option<String>,
        /// An option for the driver, NAME=VALUE; may be given several times.
        #[arg(short, long, value_name = "NAME=VALUE")]
        opt: Vec<String>,
        /// A label, NAME=VALUE; may be given several times.
        #[arg(long, value_name = "NAME=VALUE")]
        label: Vec<String>,
        /// The node where it is to lie. Without it, that of its first user.
        #[arg(long)]
        node: Option<String>,
    },
    /// Move a volume to another node: its users end, it is copied and compared, and they start there. To the
    /// node where it is: give the move up.
    Move {
        /// STACK/VOLUME.
        #[arg(value_name = "STACK/VOLUME")]
        volume: String,
        /// The node.
        node: String,
        /// Do not wait until it has moved.
        #[arg(short, long)]
        detach: bool,
        /// How long to wait.
        #[arg(long, default_value = "1h", value_parser = when::parse_duration, value_name = "TIME")]
        timeout: Duration,
    },
    /// Remove a volume that no service uses, and what is in it.
    Rm {
        /// STACK/VOLUME.
        #[arg(required = true, value_name = "STACK/VOLUME")]
        volumes: Vec<String>,
    },
}
