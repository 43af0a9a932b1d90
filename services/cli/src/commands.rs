//! One file a command.

mod advise;
mod alerts;
mod autoscale;
mod backup;
mod config;
mod container;
mod context;
mod down;
mod events;
mod exec;
mod files;
mod init;
mod join;
mod leave;
mod lists;
mod logs;
mod node;
mod ps;
mod rebalance;
mod restore;
mod routes;
mod services;
mod stats;
mod token;
mod top;
mod up;
mod version;
mod volume;
mod why;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::{Args, Command, Node};
use crate::client::Cluster;
use crate::failure::Result;

/// Does what was asked.
pub async fn run(args: Args) -> Result<ExitCode> {
    let (context, host) = (args.context, args.host);
    let connect = || Cluster::connect(context.as_deref(), host.as_deref());
    match args.command {
        Command::Init(init) => init::run(init).await,
        Command::Join(join) => join::run(join).await,
        Command::Leave(leave) => leave::run(leave).await,
        Command::Restore(restore) => restore::run(restore).await,
        Command::Backup(backup) => backup::run(&connect().await?, &backup).await,
        Command::Token(token) => token::run(&connect().await?, token).await,
        Command::Node(Node::Repoint { address, docker, cluster }) => {
            node::repoint(&address, &docker, &cluster).await
        }
        Command::Context(command) => context::run(command),
        Command::Autoscale(command) => autoscale::run(connect, command).await,
        Command::Config(file) => config::run(&file),
        Command::Version(format) => version::run(context.as_deref(), host.as_deref(), &format).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "gantry", &mut script);
            crate::output::print(&String::from_utf8_lossy(&script))
        }
        Command::Up(up) => up::run(connect, up).await,
        Command::Plan(file) => up::plan(connect, &file).await,
        Command::Down(down) => down::run(&connect().await?, down).await,
        Command::Ps(ps) => ps::run(&connect().await?, ps).await,
        Command::Ls(list) => lists::stacks(&connect().await?, &list).await,
        Command::Logs(logs) => logs::run(&connect().await?, logs).await,
        Command::Exec(exec) => return exec::run(&connect().await?, exec).await,
        Command::Cp(copy) => files::copy(&connect().await?, copy).await,
        Command::Processes(args) => files::processes(&connect().await?, args).await,
        Command::Stats(stats) => stats::run(&connect().await?, stats).await,
        Command::Top(top) => top::run(&connect().await?, top).await,
        Command::Advise(advise) => advise::run(&connect().await?, advise).await,
        Command::Routes(routes) => routes::run(&connect().await?, routes).await,
        Command::Scale(scale) => services::scale(&connect().await?, scale).await,
        Command::Restart(args) => services::restart(&connect().await?, args).await,
        Command::Stop(args) => services::stop(&connect().await?, args).await,
        Command::Start(args) => services::start(&connect().await?, args).await,
        Command::Rm(args) => services::remove(&connect().await?, args).await,
        Command::Events(events) => events::run(&connect().await?, events).await,
        Command::Why(why) => why::run(&connect().await?, why).await,
        Command::Alerts(command) => return alerts::run(connect, command).await,
        Command::Node(command) => node::run(&connect().await?, command).await,
        Command::Rebalance(args) => rebalance::run(&connect().await?, args).await,
        Command::Volume(command) => volume::run(&connect().await?, command).await,
        Command::Network(command) => lists::networks(&connect().await?, command).await,
        Command::Image(command) => lists::images(&connect().await?, command).await,
        Command::Container(command) => return container::run(&connect().await?, command).await,
    }?;
    Ok(ExitCode::SUCCESS)
}
