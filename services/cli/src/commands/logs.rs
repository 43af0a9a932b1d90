//! `gantry logs`

use std::collections::BTreeMap;
use std::time::SystemTime;

use gantry_api::agent::v1::OutputStream;
use gantry_api::cluster::v1::{GetStackRequest, StreamLogsRequest, StreamLogsResponse};
use owo_colors::{AnsiColors, OwoColorize as _};

use crate::args::{FileArgs, Logs};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::{output, project, terminal, when};

const COLOURS: [AnsiColors; 6] = [
    AnsiColors::Cyan,
    AnsiColors::Yellow,
    AnsiColors::Green,
    AnsiColors::Magenta,
    AnsiColors::Blue,
    AnsiColors::BrightCyan,
];

/// Shows the logs of services.
pub async fn run(cluster: &Cluster, logs: Logs) -> Result<()> {
    let since = logs.since.as_deref().map(|text| when::parse_since(text, SystemTime::now())).transpose();
    let mut request = StreamLogsRequest {
        follow: logs.follow,
        since: since.map_err(Failure::bad_input)?,
        tail: logs.tail,
        ..StreamLogsRequest::default()
    };
    let scope = FileArgs::from(&logs.scope);
    if logs.subjects.is_empty() {
        let name = project::stack(&scope)?.to_string();
        let stack = cluster.stacks().get_stack(GetStackRequest { name }).await?.into_inner().stack;
        request.services =
            stack.unwrap_or_default().services.into_iter().map(|service| service.name).collect();
    }
    for subject in &logs.subjects {
        if is_replica(subject) && project::find_stack(&scope).is_ok_and(|stack| stack.is_none()) {
            request.replicas.push(subject.clone());
        } else {
            request.services.push(project::service(&scope, subject)?);
        }
    }
    let mut pieces = cluster.replicas().stream_logs(request).await?.into_inner();
    let mut printer =
        Printer { logs: &logs, colours: output::colours(), known: BTreeMap::new(), open: BTreeMap::new() };
    while let Some(piece) = pieces.message().await? {
        printer.print(piece)?;
    }
    Ok(())
}

/// Ids of replicas look like this, and services' names hardly do.
fn is_replica(subject: &str) -> bool {
    subject.len() == 10 && subject.chars().all(|c| c.is_ascii_hexdigit())
}

struct Printer<'a> {
    logs: &'a Logs,
    colours: bool,
    known: BTreeMap<String, AnsiColors>,
    /// Lines that are not complete yet, by replica and stream.
    open: BTreeMap<(String, bool), bool>,
}

impl Printer<'_> {
    fn print(&mut self, piece: StreamLogsResponse) -> Result<()> {
        let service = piece.service.split('/').nth(1).unwrap_or(&piece.service).to_owned();
        if !piece.warning.is_empty() {
            eprintln!("{service}-{}: {}", piece.slot, piece.warning);
            return Ok(());
        }
        let stderr = piece.stream() == OutputStream::Stderr;
        let prefix = if self.logs.no_log_prefix { String::new() } else { self.prefix(&service, piece.slot) };
        let time = if self.logs.timestamps { when::precise(piece.time) + " " } else { String::new() };
        let continues = self.open.get(&(piece.replica.clone(), stderr)).copied().unwrap_or(false);
        let mut text = Vec::with_capacity(piece.data.len() + prefix.len() + time.len());
        if !continues {
            text.extend_from_slice(prefix.as_bytes());
            text.extend_from_slice(time.as_bytes());
        }
        text.extend_from_slice(&piece.data);
        self.open.insert((piece.replica, stderr), !piece.data.ends_with(b"\n"));
        terminal::write(&text, stderr)
    }

    fn prefix(&mut self, service: &str, slot: u32) -> String {
        let name = format!("{service}-{slot}");
        let count = self.known.len();
        let colour = *self.known.entry(name.clone()).or_insert(COLOURS[count % COLOURS.len()]);
        if self.colours { format!("{} | ", name.color(colour)) } else { format!("{name} | ") }
    }
}
