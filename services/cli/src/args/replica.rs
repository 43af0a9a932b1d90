//! What is done inside one replica of a service.

use clap::Args as Group;

use super::ScopeArgs;

/// `gantry exec`
#[derive(Debug, Group)]
pub struct Exec {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// No terminal, even if there is one.
    #[arg(short = 'T', long)]
    pub no_tty: bool,
    /// The user.
    #[arg(short, long)]
    pub user: Option<String>,
    /// The working directory.
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// A further variable, NAME=value; may be given several times.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The slot of the replica. Without it, the first that runs.
    #[arg(long, default_value_t = 0, value_name = "SLOT", hide_default_value = true)]
    pub index: u32,
    /// The service (NAME or STACK/NAME) or a replica's id, then the command and its arguments.
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, allow_hyphen_values = true, value_names = ["SERVICE", "COMMAND"])]
    pub words: Vec<String>,
}

/// `gantry cp`
#[derive(Debug, Group)]
pub struct Copy {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// The slot of the replica. Without it, the first that runs.
    #[arg(long, default_value_t = 0, value_name = "SLOT", hide_default_value = true)]
    pub index: u32,
    /// SERVICE:PATH or a path here; - takes a tar archive from standard input.
    pub source: String,
    /// A path here or SERVICE:PATH, where a slash at the end says that it is a folder; - writes a tar archive
    /// to standard output.
    pub target: String,
}

/// `gantry processes`
#[derive(Debug, Group)]
pub struct Processes {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// The slot of the replica. Without it, the first that runs.
    #[arg(long, default_value_t = 0, value_name = "SLOT", hide_default_value = true)]
    pub index: u32,
    /// The service (NAME or STACK/NAME) or a replica's id.
    #[arg(value_name = "SERVICE")]
    pub replica: String,
    /// Arguments for ps.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub ps_args: Vec<String>,
}
