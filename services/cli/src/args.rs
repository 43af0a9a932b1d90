//! What can be asked, in Docker's words.

mod cluster;
mod container;
mod traffic;

pub use cluster::{
    Availability, Backup, Context, DockerHost, Init, Join, Leave, Node, Rebalance, Restore, Token,
};
pub use container::{Container, Create, Ids, NodeArg};
pub use traffic::{Routes, Top};

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::when;

/// Runs Compose files on one Docker host or on many.
#[derive(Debug, Parser)]
#[command(name = "gantry", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Args {
    /// Which cluster to use (`gantry context ls` shows those that are known).
    #[arg(long, global = true, env = "GANTRY_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// The scheduler's address, instead of the context's.
    #[arg(long, global = true, env = "GANTRY_HOST", value_name = "HOST:PORT")]
    pub host: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster on this Docker host.
    Init(Init),
    /// Make a join token for further hosts.
    Token(Token),
    /// Make a Docker host a node of a cluster.
    Join(Join),
    /// Remove Gantry from this Docker host.
    Leave(Leave),
    /// Write a copy of the cluster's state and CA to a file.
    Backup(Backup),
    /// Start a cluster's scheduler on another host, from a backup.
    Restore(Restore),
    /// Deploy a Compose file and wait until it runs.
    Up(Up),
    /// Remove a stack.
    Down(Down),
    /// Show what `up` would change.
    Plan(FileArgs),
    /// Show the Compose file with everything put in.
    Config(FileArgs),
    /// List replicas.
    Ps(Ps),
    /// List stacks.
    Ls(List),
    /// Show the logs of services.
    Logs(Logs),
    /// Run a command in a replica of a service.
    Exec(Exec),
    /// Show what replicas use.
    Stats(Stats),
    /// Show the traffic of services.
    Top(Top),
    /// Copy files into a replica, or out of it.
    Cp(Copy),
    /// List the processes of a replica.
    Processes(Processes),
    /// Show what is published where.
    Routes(Routes),
    /// Set how many replicas services have.
    Scale(Scale),
    /// Restart services in place, one batch after the other.
    Restart(Services),
    /// Stop services; they keep their place in the stack.
    Stop(Services),
    /// Start stopped services.
    Start(Services),
    /// Remove services from their stack.
    Rm(Services),
    /// Show what happened.
    Events(Events),
    /// Say why a service is as it is.
    Why(Why),
    /// Look at nodes, and say what they may do.
    #[command(subcommand)]
    Node(Node),
    /// Move replicas so that all nodes have their share.
    Rebalance(Rebalance),
    /// Look at volumes, and move them.
    #[command(subcommand)]
    Volume(Volume),
    /// List the networks of stacks.
    #[command(subcommand)]
    Network(Listing),
    /// List the images that services run.
    #[command(subcommand)]
    Image(Listing),
    /// Drive single containers on a node.
    #[command(subcommand)]
    Container(Container),
    /// Choose a cluster.
    #[command(subcommand)]
    Context(Context),
    /// Show the versions of this tool and of the cluster.
    Version(Format),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// How something is shown.
#[derive(Debug, Clone, Group)]
pub struct Format {
    /// How to show it.
    #[arg(long, value_enum, default_value_t, value_name = "SHAPE")]
    pub format: Shape,
}

/// How a list is shown.
#[derive(Debug, Clone, Group)]
pub struct List {
    /// How to show it.
    #[arg(long, value_enum, default_value_t, value_name = "SHAPE")]
    pub format: Shape,
    /// Show names or ids only.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Which Compose file.
#[derive(Debug, Clone, Default, Group)]
pub struct FileArgs {
    /// The Compose file. Without it, compose.yaml here or in the nearest folder above.
    #[arg(short, long, env = "COMPOSE_FILE", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The stack's name. Without it, the file's, else the folder's.
    #[arg(short, long = "project-name", visible_alias = "stack", value_name = "NAME")]
    pub project: Option<String>,
    /// A file of variables, instead of .env; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Include services of this profile; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
}

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

/// Which stack, for commands whose `-f` means something else.
#[derive(Debug, Clone, Default, Group)]
pub struct ScopeArgs {
    /// The Compose file. Without it, compose.yaml here or in the nearest folder above.
    #[arg(long, env = "COMPOSE_FILE", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The stack's name. Without it, the file's, else the folder's.
    #[arg(short, long = "project-name", visible_alias = "stack", value_name = "NAME")]
    pub project: Option<String>,
}

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

/// A group that can only be listed.
#[derive(Debug, Subcommand)]
pub enum Listing {
    /// List them.
    Ls {
        /// Only those of this stack.
        stack: Option<String>,
        #[command(flatten)]
        list: List,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_a_host_joins_with_is_read() {
        let line = "gantry join gt1-a-b-c@192.0.2.1:7070 --docker-host ssh://me@h2 --advertise-addr 192.0.2.2 --advertise-addr 198.51.100.2 --label disk=ssd";
        let Command::Join(join) = Args::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        assert_eq!(join.docker.docker_host.as_deref(), Some("ssh://me@h2"));
        assert_eq!((join.advertise_addr.len(), join.label.len(), join.name.as_str()), (2, 1, "default"));
        assert!(
            Args::try_parse_from(["gantry", "token", "--role", "admin"]).is_err(),
            "tokens are for nodes"
        );
        assert!(Args::try_parse_from(["gantry", "node", "update", "n1", "--availability", "off"]).is_err());
    }

    #[test]
    fn flags_of_a_command_that_is_run_are_left_to_it() {
        let args = Args::try_parse_from(["gantry", "exec", "-T", "web", "ls", "-la", "--color"]).unwrap();
        let Command::Exec(exec) = args.command else { panic!() };
        assert!(exec.no_tty);
        assert_eq!(exec.words.join(" "), "web ls -la --color");
        let args = Args::try_parse_from(["gantry", "container", "run", "--rm", "redis", "--rm"]).unwrap();
        let Command::Container(Container::Run(run)) = args.command else { panic!() };
        assert!(run.rm);
        assert_eq!(run.words.join(" "), "redis --rm");
        assert!(Args::try_parse_from(["gantry", "exec", "web"]).is_err(), "a command is missing");
    }
}
