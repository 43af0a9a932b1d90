//! `gantry container`: the lifecycle of single containers, in Docker's words.

use clap::{Args as Group, Subcommand};

use super::List;

/// `gantry container`
#[derive(Debug, Subcommand)]
pub enum Container {
    /// Create a container and start it.
    Run(Create),
    /// Create a container.
    Create(Create),
    /// Start containers.
    Start(Ids),
    /// Stop containers.
    Stop {
        #[command(flatten)]
        ids: Ids,
        /// Seconds to wait before killing.
        #[arg(short, long, value_name = "SECONDS")]
        time: Option<u32>,
        /// The signal to send.
        #[arg(short, long)]
        signal: Option<String>,
    },
    /// Restart containers.
    Restart {
        #[command(flatten)]
        ids: Ids,
        /// Seconds to wait before killing.
        #[arg(short, long, value_name = "SECONDS")]
        time: Option<u32>,
    },
    /// Send a signal to containers.
    Kill {
        #[command(flatten)]
        ids: Ids,
        /// The signal.
        #[arg(short, long, default_value = "SIGKILL")]
        signal: String,
    },
    /// Remove containers.
    Rm {
        #[command(flatten)]
        ids: Ids,
        /// Kill them first if they run.
        #[arg(short, long)]
        force: bool,
        /// Remove their anonymous volumes too.
        #[arg(short, long)]
        volumes: bool,
    },
    /// List containers.
    Ls {
        #[command(flatten)]
        node: NodeArg,
        /// Also those that do not run.
        #[arg(short, long)]
        all: bool,
        /// A filter, such as label=a=b; may be given several times.
        #[arg(short, long, value_name = "NAME=VALUE")]
        filter: Vec<String>,
        #[command(flatten)]
        list: List,
    },
    /// Show all that is known of containers, as JSON.
    Inspect(Ids),
    /// Show the log of a container.
    Logs {
        #[command(flatten)]
        node: NodeArg,
        /// Its name or id.
        container: String,
        /// Go on as more is written.
        #[arg(short, long)]
        follow: bool,
        /// At most that many of the last lines.
        #[arg(short = 'n', long, value_name = "LINES")]
        tail: Option<u32>,
        /// Leave out what was written before: a time, or how long ago (10m).
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Show when each line was written.
        #[arg(short, long)]
        timestamps: bool,
    },
    /// Run a command in a container.
    Exec {
        #[command(flatten)]
        node: NodeArg,
        /// Keep standard input open.
        #[arg(short, long)]
        interactive: bool,
        /// Allocate a terminal.
        #[arg(short, long)]
        tty: bool,
        /// The user.
        #[arg(short, long)]
        user: Option<String>,
        /// The working directory.
        #[arg(short, long, value_name = "PATH")]
        workdir: Option<String>,
        /// A further variable, NAME=value; may be given several times.
        #[arg(short, long, value_name = "NAME=VALUE")]
        env: Vec<String>,
        /// Its name or id, then the command and its arguments.
        #[arg(required = true, num_args = 2.., trailing_var_arg = true, allow_hyphen_values = true, value_names = ["CONTAINER", "COMMAND"])]
        words: Vec<String>,
    },
    /// Show what containers use.
    Stats {
        #[command(flatten)]
        ids: Ids,
        /// Show it once.
        #[arg(long)]
        no_stream: bool,
    },
}

/// Which node.
#[derive(Debug, Clone, Group)]
pub struct NodeArg {
    /// The node. Without it, the only one.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
}

/// Which containers.
#[derive(Debug, Clone, Group)]
pub struct Ids {
    #[command(flatten)]
    pub node: NodeArg,
    /// Names or ids.
    #[arg(required = true)]
    pub containers: Vec<String>,
}

/// `gantry container create` and `run`
#[derive(Debug, Group)]
pub struct Create {
    #[command(flatten)]
    pub node: NodeArg,
    /// Its name.
    #[arg(long)]
    pub name: Option<String>,
    /// With `run`: do not wait for its end.
    #[arg(short, long)]
    pub detach: bool,
    /// With `run`: remove it when it has ended.
    #[arg(long)]
    pub rm: bool,
    /// A variable, NAME=value; may be given several times.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// A label, NAME=value; may be given several times.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// A port, [IP:]HOST:CONTAINER[/PROTOCOL]; may be given several times.
    #[arg(short, long, value_name = "PORT")]
    pub publish: Vec<String>,
    /// A volume, SOURCE:TARGET[:ro]; may be given several times.
    #[arg(short, long, value_name = "VOLUME")]
    pub volume: Vec<String>,
    /// A network; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub network: Vec<String>,
    /// no, always, unless-stopped, on-failure or on-failure:3.
    #[arg(long, default_value = "no", value_name = "POLICY")]
    pub restart: String,
    /// The user.
    #[arg(short, long)]
    pub user: Option<String>,
    /// The working directory.
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// A memory limit, such as 64M.
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// A limit of cores, such as 0.5.
    #[arg(long, value_name = "CORES")]
    pub cpus: Option<String>,
    /// Run an init process as pid 1.
    #[arg(long)]
    pub init: bool,
    /// Replace the image's entrypoint.
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// The image, then the command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_names = ["IMAGE", "COMMAND"])]
    pub words: Vec<String>,
}
