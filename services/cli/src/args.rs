//! What can be asked, in Docker's words: the commands, and the arguments that several of them share.
//!
//! The arguments of single commands are in the folder, by what the commands are about.

mod alerts;
mod autoscale;
mod cluster;
mod container;
mod observe;
mod replica;
mod stack;
mod traffic;
mod volume;

pub use alerts::Alerts;
pub use autoscale::{Autoscale, Mode, Set, Simulate, Targets};
pub use cluster::{
    Availability, Backup, Context, DockerHost, Init, Join, Leave, Node, Rebalance, Restore, Token,
};
pub use container::{Container, Create, Ids, NodeArg};
pub use observe::{Advise, Events, Logs, Ps, Stats, Why};
pub use replica::{Copy, Exec, Processes};
pub use stack::{Down, Scale, Services, Up};
pub use traffic::{Routes, Top};
pub use volume::Volume;

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

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
    /// Show the traffic of services, and what they use.
    Top(Top),
    /// Say what services should reserve and be allowed, by what they used.
    Advise(Advise),
    /// Copy files into a replica, or out of it.
    Cp(Copy),
    /// List the processes of a replica.
    Processes(Processes),
    /// Show what is published where.
    Routes(Routes),
    /// Set how many replicas services have.
    Scale(Scale),
    /// Show and change how services are scaled by their load, or try it.
    #[command(subcommand)]
    Autoscale(Autoscale),
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
    /// Show what is wrong, and say whom to tell.
    #[command(subcommand)]
    Alerts(Alerts),
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
    fn all_alerts_are_silenced_only_on_purpose() {
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        assert!(parse("gantry alerts silence").is_err());
        assert!(parse("gantry alerts silence shop/web --all").is_err());
        for line in ["--all", "shop/* --for 2h -m moving", "--rule node-lost"] {
            assert!(parse(&format!("gantry alerts silence {line}")).is_ok(), "{line}");
        }
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
