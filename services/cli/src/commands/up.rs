//! `gantry up` and `gantry plan`

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal as _;
use std::time::Duration;

use gantry_api::cluster::v1::{
    ApplyStackRequest, ChangeAction, ListReplicasRequest, PlanStackRequest, PlannedChange,
    apply_stack_response,
};
use gantry_compose::Project;
use gantry_model::wire;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{FileArgs, Up};
use crate::client::Cluster;
use crate::context::Contexts;
use crate::failure::{Failure, Result};
use crate::progress::{self, Until};
use crate::{image, output, project, registry};

/// Lines of a failed build's output that a terminal shows.
const OUTPUT_LINES: usize = 200;

/// Deploys a Compose file.
pub async fn run<F: Future<Output = Result<Cluster>>>(connect: impl Fn() -> F, up: Up) -> Result<()> {
    // What is wrong with the file is said before anything else is tried.
    let project = project::read(&up.file, is_local())?;
    let cluster = connect().await?;
    build(&cluster, &project, up.build).await?;
    let applying = tokio::time::timeout(up.timeout, apply(&cluster, &project, up.force_recreate)).await;
    let changes = applying.map_err(|_| unapplied(&project, up.timeout))??;
    for change in &changes {
        eprintln!("{}", line(change));
    }
    let stack = project.stack.name.as_str();
    if up.detach {
        return output::print(&format!("{stack} is on its way: `gantry ps {stack}` shows how it stands\n"));
    }
    progress::wait(&cluster, stack, Until::Converged, up.timeout).await?;
    let ports = published(&cluster, stack).await?;
    let done = if changes.is_empty() { "is up to date" } else { "is up" };
    output::print(&format!("{stack} {done}{ports}\n"))
}

/// Whether the cluster in use runs on this machine, as far as is known before it was reached.
fn is_local() -> bool {
    let chosen = std::env::var("GANTRY_CONTEXT").ok();
    Contexts::open()
        .and_then(|contexts| contexts.choose(chosen.as_deref()))
        .is_ok_and(|context| context.local)
}

/// Shows what `up` would change.
pub async fn plan<F: Future<Output = Result<Cluster>>>(
    connect: impl Fn() -> F,
    file: &FileArgs,
) -> Result<()> {
    let project = project::read(file, is_local())?;
    let cluster = connect().await?;
    let request = PlanStackRequest { spec: Some(wire::write_stack(&project.stack)) };
    let changes = cluster.stacks().plan_stack(request).await?.into_inner().changes;
    if changes.is_empty() {
        return output::print(&format!("{} is up to date\n", project.stack.name));
    }
    let text: String = changes.iter().map(|change| line(change) + "\n").collect();
    output::print(&text)
}

fn line(change: &PlannedChange) -> String {
    let sign = match change.action() {
        ChangeAction::Create => "+ create ",
        ChangeAction::Update => "~ update ",
        ChangeAction::Replace => "± replace",
        ChangeAction::Remove => "- remove ",
        ChangeAction::Unspecified => "  change ",
    };
    let details =
        if change.details.is_empty() { String::new() } else { format!("  ({})", change.details.join(", ")) };
    format!("{sign} {}{details}", change.subject)
}

async fn build(cluster: &Cluster, project: &Project, always: bool) -> Result<()> {
    if project.builds.is_empty() {
        return Ok(());
    }
    let agent = cluster.builder().await?;
    for (service, build) in &project.builds {
        let Some(spec) = project.stack.services.get(service) else { continue };
        let name = &spec.container.image;
        if !always && image::exists(&agent, name).await? {
            eprintln!("image {name} is there already (--build builds it again)");
            continue;
        }
        let bar = spinner(&format!("building {name}"));
        // On a terminal the output scrolls by in one line, and is wanted only if the build fails.
        let mut unseen = VecDeque::new();
        let built = image::build(&agent, name, build, |line| match &bar {
            Some(bar) => {
                bar.set_message(format!("building {name}: {line}"));
                unseen.push_back(line.to_owned());
                if unseen.len() > OUTPUT_LINES {
                    unseen.pop_front();
                }
            }
            None => eprintln!("{name} | {line}"),
        });
        let built = built.await;
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        built.map_err(|failure| failure.details(Vec::from(unseen).join("\n")))?;
        eprintln!("image {name} built");
    }
    Ok(())
}

fn spinner(message: &str) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        eprintln!("{message}");
        return None;
    }
    let bar = ProgressBar::new_spinner().with_message(message.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner:.yellow} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    Some(bar)
}

async fn apply(cluster: &Cluster, project: &Project, force_recreate: bool) -> Result<Vec<PlannedChange>> {
    let stack = project.stack.clone();
    // A helper for credentials may take its time.
    let credentials = tokio::task::spawn_blocking(move || registry::credentials(&stack));
    let credentials = credentials.await.unwrap_or_default();
    let request =
        ApplyStackRequest { spec: Some(wire::write_stack(&project.stack)), force_recreate, credentials };
    let mut steps = cluster.stacks().apply_stack(request).await?.into_inner();
    let mut bars: BTreeMap<String, Option<ProgressBar>> = BTreeMap::new();
    let applied = loop {
        match steps.message().await {
            Ok(Some(step)) => match step.message {
                Some(apply_stack_response::Message::Progress(step)) => {
                    let bar = bars
                        .entry(step.image.clone())
                        .or_insert_with(|| spinner(&format!("pulling {}", step.image)));
                    if let Some(bar) = bar {
                        let amount = match step.total {
                            0 => String::new(),
                            total => format!(" {}/{}", output::bytes(step.current), output::bytes(total)),
                        };
                        bar.set_message(format!("pulling {}: {}{amount}", step.image, step.status));
                    }
                }
                Some(apply_stack_response::Message::Result(result)) => break Ok(result.changes),
                None => {}
            },
            Ok(None) => {
                break Err(Failure::error(
                    "the scheduler hung up before it was done; nothing may have changed",
                ));
            }
            Err(status) => break Err(status.into()),
        }
    };
    for bar in bars.into_values().flatten() {
        bar.finish_and_clear();
    }
    applied
}

fn unapplied(project: &Project, limit: Duration) -> Failure {
    let stack = &project.stack.name;
    Failure::timed_out(format!(
        "{stack} is not there after {} s: its images are still being fetched",
        limit.as_secs()
    ))
    .hint("nothing was changed; is the engine well? `gantry node ls` shows it; `--timeout 30m` waits longer")
}

/// Where the stack can be reached.
async fn published(cluster: &Cluster, stack: &str) -> Result<String> {
    let request = ListReplicasRequest { stack: stack.to_owned(), service: String::new() };
    let replicas = cluster.replicas().list_replicas(request).await?.into_inner().replicas;
    let mut lines: Vec<String> = replicas
        .iter()
        .flat_map(|replica| {
            let service = replica.service.split('/').nth(1).unwrap_or_default();
            replica.ports.iter().filter(|port| port.protocol == "tcp").map(move |port| {
                let host = if port.host_ip.is_empty() { "localhost" } else { &port.host_ip };
                format!("\n  {service}  http://{host}:{}", port.host_port)
            })
        })
        .collect();
    lines.sort();
    lines.dedup();
    let mut warnings: Vec<String> = replicas
        .iter()
        .filter(|replica| replica.ready && !replica.message.is_empty())
        .map(|replica| format!("warning: {}: {}", replica.service, replica.message))
        .collect();
    warnings.dedup();
    for warning in warnings {
        eprintln!("{warning}");
    }
    Ok(if lines.is_empty() { String::new() } else { format!(":{}", lines.concat()) })
}
