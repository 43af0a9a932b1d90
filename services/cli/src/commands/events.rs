//! `gantry events`

use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::{ListEventsRequest, Severity, WatchEventsRequest};
use serde::Serialize;

use crate::args::{Events, List, Shape};
use crate::client::Cluster;
use crate::failure::Result;
use crate::output::{self, Row};
use crate::when;

/// An event as it is shown.
#[derive(Serialize)]
pub struct Line {
    sequence: u64,
    time: String,
    severity: String,
    subject: String,
    replica: String,
    reason: String,
    message: String,
}

impl From<wire::Event> for Line {
    fn from(event: wire::Event) -> Self {
        let severity = if event.severity() == Severity::Warning { "warning" } else { "normal" };
        Self {
            sequence: event.sequence,
            time: when::shown(event.time),
            severity: severity.to_owned(),
            subject: event.subject,
            replica: event.replica,
            reason: event.reason,
            message: event.message,
        }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &["TIME", "SUBJECT", "REASON", "MESSAGE"];

    fn cells(&self) -> Vec<String> {
        vec![self.time.clone(), self.subject.clone(), self.reason.clone(), self.message.clone()]
    }

    fn name(&self) -> String {
        self.sequence.to_string()
    }
}

/// Shows what happened.
pub async fn run(cluster: &Cluster, events: Events) -> Result<()> {
    let subject = events.subject.unwrap_or_default();
    let request = ListEventsRequest { subject: subject.clone(), limit: events.limit };
    let past = cluster.events().list_events(request).await?.into_inner().events;
    let after = past.last().map(|event| event.sequence);
    let lines: Vec<Line> = past.into_iter().map(Line::from).collect();
    let shape = events.format.format;
    if !events.follow {
        return output::list(&lines, &List { format: shape, quiet: false });
    }
    for line in &lines {
        show(line, shape)?;
    }
    let request = WatchEventsRequest { subject, after: after.unwrap_or_default() };
    let mut stream = cluster.events().watch_events(request).await?.into_inner();
    while let Some(next) = stream.message().await? {
        if let Some(event) = next.event {
            show(&Line::from(event), shape)?;
        }
    }
    Ok(())
}

/// One line an event, also as JSON, so that a program can read it as it comes.
fn show(line: &Line, shape: Shape) -> Result<()> {
    match shape {
        Shape::Table => {
            output::print(&format!("{}  {}  {}  {}\n", line.time, line.subject, line.reason, line.message))
        }
        Shape::Json => output::print(&(serde_json::to_string(line).unwrap_or_default() + "\n")),
        Shape::Yaml => output::print(&format!("---\n{}", output::yaml(line)?)),
    }
}
