//! `gantry container logs`, `exec` and `stats`

use std::process::ExitCode;
use std::time::SystemTime;

use gantry_api::agent::v1 as wire;
use gantry_api::agent::v1::exec_request::Message as ToProcess;
use gantry_api::agent::v1::exec_response::Message as FromProcess;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::agent;
use crate::args::{Ids, NodeArg, Shape};
use crate::client::Cluster;
use crate::commands::exec::exit_code;
use crate::commands::stats::{Line, Screen};
use crate::failure::{Failure, Result};
use crate::terminal::{self, Input, Raw};
use crate::when;

/// Shows a container's log.
pub async fn logs(
    cluster: &Cluster,
    node: NodeArg,
    container: String,
    follow: bool,
    tail: Option<u32>,
    since: Option<String>,
    timestamps: bool,
) -> Result<()> {
    let since = since.as_deref().map(|text| when::parse_since(text, SystemTime::now())).transpose();
    let request = wire::StreamLogsRequest {
        id: container,
        follow,
        since: since.map_err(Failure::bad_input)?,
        until: None,
        tail,
        timestamps,
    };
    let mut log = agent(cluster, node.node.as_deref()).await?.stream_logs(request).await?.into_inner();
    while let Some(piece) = log.message().await? {
        let mut text = if timestamps { (when::precise(piece.time) + " ").into_bytes() } else { Vec::new() };
        text.extend_from_slice(&piece.data);
        terminal::write(&text, piece.stream() == wire::OutputStream::Stderr)?;
    }
    Ok(())
}

/// Runs a command in a container, and ends with its exit code.
pub async fn exec(cluster: &Cluster, node: NodeArg, mut start: wire::ExecStart) -> Result<ExitCode> {
    let tty = start.tty;
    if tty && !terminal::is_interactive() {
        return Err(Failure::bad_input("there is no terminal here").hint("leave out -t"));
    }
    if tty {
        start.size = terminal::size();
    }
    let stdin = start.stdin;
    let (messages, stream) = mpsc::channel(16);
    let send = |message| wire::ExecRequest { message: Some(message) };
    messages.send(send(ToProcess::Start(start))).await.map_err(|_| Failure::error("the connection broke"))?;
    let mut agent = agent(cluster, node.node.as_deref()).await?;
    let mut output = agent.exec(ReceiverStream::new(stream)).await?.into_inner();
    let raw = if tty { Some(Raw::begin()?) } else { None };
    let mut input = terminal::input(stdin, tty);
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

/// Shows what containers use.
pub async fn stats(cluster: &Cluster, ids: &Ids, once: bool) -> Result<()> {
    let agent = agent(cluster, ids.node.node.as_deref()).await?;
    let (samples, mut all) = mpsc::channel(16);
    for id in ids.containers.clone() {
        let request = wire::StreamStatsRequest { id: id.clone(), once };
        let mut stream = agent.clone().stream_stats(request).await?.into_inner();
        let samples = samples.clone();
        tokio::spawn(async move {
            loop {
                let next = stream.message().await;
                let last = !matches!(next, Ok(Some(_)));
                if samples.send((id.clone(), next)).await.is_err() || last {
                    return;
                }
            }
        });
    }
    drop(samples);
    let mut screen = Screen::new(Shape::Table);
    while let Some((id, sample)) = all.recv().await {
        if let Some(sample) = sample? {
            screen.add(id.clone(), Line::new(id, String::new(), &sample));
        }
        if !once {
            screen.show(false)?;
        }
    }
    screen.show(true)
}
