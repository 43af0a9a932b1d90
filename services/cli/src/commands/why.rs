//! `gantry why`

use gantry_api::cluster::v1::ExplainServiceRequest;
use serde::Serialize;

use crate::args::Why;
use crate::client::Cluster;
use crate::failure::Result;
use crate::{output, project};

use super::events::Line as Event;
use super::ps::Line as Replica;

#[derive(Serialize)]
struct Explanation {
    service: String,
    replicas: Vec<Explained>,
    events: Vec<Event>,
}

#[derive(Serialize)]
struct Explained {
    state: String,
    slot: u32,
    message: String,
    reasons: Vec<String>,
    replica: Replica,
}

/// Says why a service is as it is.
pub async fn run(cluster: &Cluster, why: Why) -> Result<()> {
    let name = project::service(&why.file, &why.service)?;
    let answer =
        cluster.services().explain_service(ExplainServiceRequest { name: name.clone() }).await?.into_inner();
    let service = answer.service.unwrap_or_default();
    let explanation = Explanation {
        replicas: answer
            .replicas
            .into_iter()
            .filter_map(|explained| {
                let replica = explained.replica?;
                Some(Explained {
                    state: replica.state.clone(),
                    slot: replica.slot,
                    message: replica.message.clone(),
                    reasons: explained.reasons,
                    replica: replica.into(),
                })
            })
            .collect(),
        events: answer.events.into_iter().map(Event::from).collect(),
        service: name,
    };
    let head = match (service.removing, service.stopped) {
        (true, _) => "is being removed".to_owned(),
        (_, true) => "was stopped by a person".to_owned(),
        _ => {
            let copies = if service.wanted == 1 { "replica" } else { "replicas" };
            format!("{} of {} {copies} ready, revision {}", service.ready, service.wanted, service.revision)
        }
    };
    output::one(&explanation, why.format.format, || text(&explanation, &head))
}

fn text(explanation: &Explanation, head: &str) -> String {
    let mut text = format!("{}: {head}\n", explanation.service);
    for replica in &explanation.replicas {
        let message =
            if replica.message.is_empty() { String::new() } else { format!(": {}", replica.message) };
        text.push_str(&format!("\nreplica {} is {}{message}\n", replica.slot, replica.state));
        for reason in &replica.reasons {
            text.push_str(&format!("  {reason}\n"));
        }
    }
    if !explanation.events.is_empty() {
        text.push_str("\nwhat led here:\n");
        text.push_str(&output::render_table(&explanation.events, output::colours()));
    }
    text
}
