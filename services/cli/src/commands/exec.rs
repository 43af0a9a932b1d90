//! `gantry exec`

use std::collections::BTreeMap;
use std::process::ExitCode;

use gantry_api::agent::v1::ExecStart;
use gantry_api::cluster::v1::exec_request::Message as ToProcess;
use gantry_api::cluster::v1::exec_response::Message as FromProcess;
use gantry_api::cluster::v1::{ExecRequest, ExecTarget};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::args::{Exec, FileArgs};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::project;
use crate::terminal::{self, Input, Raw};

/// Runs a command in a replica, and ends with its exit code.
pub async fn run(cluster: &Cluster, exec: Exec) -> Result<ExitCode> {
    let scope = FileArgs::from(&exec.scope);
    let (named, command) = split(exec.words)?;
    let tty = !exec.no_tty && terminal::is_interactive();
    let target = match project::find_stack(&scope) {
        _ if named.contains('/') => named,
        Ok(Some(stack)) => format!("{stack}/{named}"),
        // Without a project it can only be a replica's id.
        Ok(None) => named,
        Err(failure) => return Err(failure),
    };
    let start = ExecStart {
        command,
        tty,
        stdin: true,
        environment: pairs(&exec.env)?,
        working_dir: exec.workdir.unwrap_or_default(),
        user: exec.user.unwrap_or_default(),
        size: if tty { terminal::size() } else { None },
        ..ExecStart::default()
    };
    let first = ExecTarget { target, slot: exec.index, start: Some(start) };
    let (messages, stream) = mpsc::channel(16);
    let send = |message| ExecRequest { message: Some(message) };
    messages.send(send(ToProcess::Start(first))).await.map_err(|_| Failure::error("the connection broke"))?;
    let mut output = cluster.replicas().exec(ReceiverStream::new(stream)).await?.into_inner();

    let raw = if tty { Some(Raw::begin()?) } else { None };
    let mut input = terminal::input(true, tty);
    let typing = tokio::spawn(async move {
        while let Some(input) = input.recv().await {
            let message = match input {
                Input::Bytes(data) => ToProcess::Stdin(data),
                Input::Resize(size) => ToProcess::Resize(size),
                Input::End => ToProcess::StdinEnd(true),
            };
            if messages.send(send(message)).await.is_err() {
                return;
            }
        }
        // The process may still run when nothing more is typed.
        messages.closed().await;
    });
    let ended = loop {
        match output.message().await {
            Ok(Some(answer)) => match answer.message {
                Some(FromProcess::Stdout(data)) => terminal::write(&data, false)?,
                Some(FromProcess::Stderr(data)) => terminal::write(&data, true)?,
                Some(FromProcess::ExitCode(code)) => break Ok(code),
                None => {}
            },
            Ok(None) => break Err(Failure::error("the connection broke before the command ended")),
            Err(status) => break Err(status.into()),
        }
    };
    drop(raw);
    typing.abort();
    ended.map(exit_code)
}

/// What stands first, and the rest.
pub fn split(words: Vec<String>) -> Result<(String, Vec<String>)> {
    let mut words = words.into_iter();
    let first = words.next().ok_or_else(|| Failure::bad_input("nothing was named"))?;
    Ok((first, words.collect()))
}

/// A process's exit code as this tool's.
pub fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}

/// `NAME=value`, or `NAME` for the user's own.
pub fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for text in texts {
        match text.split_once('=') {
            Some(("", _)) => {
                return Err(Failure::bad_input(format!("{text:?} names nothing: write NAME=value")));
            }
            Some((name, value)) => drop(pairs.insert(name.to_owned(), value.to_owned())),
            None => {
                if let Ok(value) = std::env::var(text) {
                    pairs.insert(text.clone(), value);
                }
            }
        }
    }
    Ok(pairs)
}
