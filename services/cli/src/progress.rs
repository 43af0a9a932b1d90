//! Shows how a stack gets where it is to be, and waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use gantry_api::cluster::v1::{
    Goal, Phase, Replica, Service, StreamLogsRequest, WatchStackRequest, WatchStackResponse,
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::timeout;

use crate::client::Cluster;
use crate::failure::{Failure, Result};

/// A replica that does not come up is given up on after this time without getting anywhere.
const STUCK: Duration = Duration::from_secs(20);
/// A replica that was started this often, and does not stay up, is crashing.
const CRASHES: u32 = 3;
const LOG_LINES: u32 = 10;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Everything runs.
    Converged,
    /// Nothing is left.
    Gone,
}

/// Lines that are rewritten on a terminal, and written when they change elsewhere.
pub struct Lines {
    bars: Option<MultiProgress>,
    lines: BTreeMap<String, (Option<ProgressBar>, String)>,
}

impl Lines {
    /// Begins.
    pub fn begin() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, lines: BTreeMap::new() }
    }

    /// Says how `subject` stands.
    pub fn set(&mut self, subject: &str, state: &str, done: bool) {
        let known = self.lines.get_mut(subject);
        if known.as_ref().is_some_and(|(_, last)| last == state) {
            return;
        }
        let Some(bars) = &self.bars else {
            self.lines.insert(subject.to_owned(), (None, state.to_owned()));
            eprintln!("{subject}: {state}");
            return;
        };
        let (bar, ()) = match known {
            Some((bar, last)) => {
                state.clone_into(last);
                (bar.clone(), ())
            }
            None => {
                let bar = bars.add(ProgressBar::new_spinner());
                bar.enable_steady_tick(Duration::from_millis(120));
                self.lines.insert(subject.to_owned(), (Some(bar.clone()), state.to_owned()));
                (Some(bar), ())
            }
        };
        let Some(bar) = bar else { return };
        let template = if done { "{prefix:.green} {wide_msg}" } else { "{spinner:.yellow} {wide_msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix("✔");
        bar.set_message(format!("{subject}  {state}"));
        if done {
            bar.tick();
        }
    }

    /// Leaves what was said on the terminal.
    pub fn end(&mut self) {
        for (bar, _) in self.lines.values() {
            if let Some(bar) = bar {
                bar.abandon();
            }
        }
    }
}

/// Waits until the stack is where it is to be, and shows how it gets there. Fails early where it
/// does not get there by itself.
pub async fn wait(cluster: &Cluster, stack: &str, until: Until, limit: Duration) -> Result<()> {
    let mut lines = Lines::begin();
    let waited = timeout(limit, watch(cluster, stack, until, &mut lines)).await;
    lines.end();
    match waited {
        Ok(Ok(())) => Ok(()),
        Ok(Err(trouble)) => Err(explain(cluster, trouble).await),
        Err(_) => {
            let left: Vec<_> =
                lines.lines.iter().map(|(subject, (_, state))| format!("  {subject}: {state}")).collect();
            Err(Failure::timed_out(format!("{stack} is not there after {} s", limit.as_secs()))
                .details(left.join("\n"))
                .hint("it goes on by itself: `gantry ps` shows how it stands, `gantry why SERVICE` why"))
        }
    }
}

enum Trouble {
    /// This replica does not come up.
    Replica(Box<Replica>, String),
    /// The cluster cannot be asked.
    Failure(Failure),
}

impl<T: Into<Failure>> From<T> for Trouble {
    fn from(failure: T) -> Self {
        Self::Failure(failure.into())
    }
}

async fn watch(
    cluster: &Cluster,
    stack: &str,
    until: Until,
    lines: &mut Lines,
) -> std::result::Result<(), Trouble> {
    let request = WatchStackRequest { name: stack.to_owned() };
    let mut states = match cluster.stacks().watch_stack(request).await {
        Ok(states) => states.into_inner(),
        Err(status) if status.code() == tonic::Code::NotFound && until == Until::Gone => return Ok(()),
        Err(status) => return Err(status.into()),
    };
    let mut stuck = Stuck::default();
    let mut last = None;
    loop {
        // Also without news it may be time to give up.
        let next = timeout(Duration::from_secs(1), states.message()).await;
        let state = match next {
            Ok(Ok(Some(state))) => state,
            Ok(Ok(None)) => return Err(Failure::error("the scheduler hung up").into()),
            Ok(Err(status)) => return Err(status.into()),
            Err(_) => match last.clone() {
                Some(state) => state,
                None => continue,
            },
        };
        last = Some(state.clone());
        show(lines, &state, until);
        let Some(stack) = &state.stack else {
            return match until {
                Until::Gone => Ok(()),
                Until::Converged => Err(Failure::error("the stack was removed meanwhile").into()),
            };
        };
        if until == Until::Converged {
            if state.converged {
                return Ok(());
            }
            if stack.removing {
                return Err(Failure::error("the stack is being removed meanwhile").into());
            }
            if let Some((replica, why)) = stuck.find(&state.replicas, Instant::now()) {
                return Err(Trouble::Replica(Box::new(replica), why));
            }
        }
    }
}

fn show(lines: &mut Lines, state: &WatchStackResponse, until: Until) {
    let Some(stack) = &state.stack else {
        let known: Vec<String> = lines.lines.keys().cloned().collect();
        for subject in known {
            lines.set(&subject, "removed", true);
        }
        return;
    };
    let mut present = BTreeSet::new();
    for service in &stack.services {
        let name = service.name.split('/').nth(1).unwrap_or(&service.name).to_owned();
        let replicas: Vec<_> =
            state.replicas.iter().filter(|replica| replica.service == service.name).collect();
        let (text, done) = describe(service, &replicas, until);
        if text.is_empty() {
            // Nothing has been decided yet.
            present.insert(name);
            continue;
        }
        lines.set(&name, &text, done);
        present.insert(name);
    }
    let gone: Vec<String> = lines.lines.keys().filter(|name| !present.contains(*name)).cloned().collect();
    for name in gone {
        lines.set(&name, "removed", true);
    }
}

/// How a service stands, and whether that is how it is to be.
fn describe(service: &Service, replicas: &[&Replica], until: Until) -> (String, bool) {
    if until == Until::Gone || service.removing {
        return match replicas.first() {
            Some(replica) => (replica.state.clone(), false),
            None => ("removed".to_owned(), true),
        };
    }
    if service.completed {
        return ("completed".to_owned(), true);
    }
    if service.stopped && replicas.is_empty() {
        return ("stopped".to_owned(), true);
    }
    let settled =
        replicas.iter().filter(|replica| replica.ready && replica.revision == service.revision).count();
    let leaving = replicas.iter().filter(|replica| replica.goal() != Goal::Run).count();
    let done = settled == service.wanted as usize && replicas.len() == service.wanted as usize;
    let counted = match (service.wanted, settled) {
        (1, 1) => "ready".to_owned(),
        (1, _) => String::new(),
        (wanted, settled) => format!("{settled}/{wanted} ready"),
    };
    if done {
        return (if counted.is_empty() { "ready".to_owned() } else { counted }, true);
    }
    let waiting = replicas.iter().find(|replica| !replica.ready && replica.goal() == Goal::Run);
    let mut parts = vec![counted];
    if let Some(replica) = waiting {
        let message = replica.message.lines().next().unwrap_or_default();
        parts.push(match message {
            "" => replica.state.clone(),
            message if replica.state == "pending" => message.to_owned(),
            message => format!("{}: {message}", replica.state),
        });
    } else if leaving > 0 {
        parts.push("an old one ends".to_owned());
    }
    parts.retain(|part| !part.is_empty());
    (parts.join(", "), false)
}

/// Since when each replica has not got anywhere.
#[derive(Default)]
struct Stuck {
    since: BTreeMap<String, Instant>,
}

impl Stuck {
    /// A replica that does not come up by itself, and why.
    fn find(&mut self, replicas: &[Replica], now: Instant) -> Option<(Replica, String)> {
        let mut seen = BTreeSet::new();
        for replica in replicas.iter().filter(|replica| replica.goal() == Goal::Run) {
            let Some(why) = trouble(replica) else { continue };
            // A job that failed has failed: nothing will start it again.
            if replica.phase() == Phase::Exited {
                return Some((replica.clone(), why));
            }
            seen.insert(replica.id.clone());
            let since = *self.since.entry(replica.id.clone()).or_insert(now);
            if now.duration_since(since) >= STUCK {
                return Some((replica.clone(), why));
            }
        }
        self.since.retain(|id, _| seen.contains(id));
        None
    }
}

/// Why a replica does not come up; `None` if it may.
fn trouble(replica: &Replica) -> Option<String> {
    let message = replica.message.clone();
    match replica.phase() {
        Phase::Exited if replica.exit_code.unwrap_or(0) != 0 && replica.state == "exited" => {
            Some(format!("ended with exit code {}", replica.exit_code.unwrap_or_default()))
        }
        Phase::Failed => Some(message),
        Phase::Restarting => Some(format!("keeps crashing: {message}")),
        Phase::Running if !replica.ready && replica.state == "unhealthy" => {
            Some("its health check fails".to_owned())
        }
        Phase::Running | Phase::Starting if replica.restarts >= CRASHES && !replica.ready => {
            Some("keeps crashing".to_owned())
        }
        // A dependency may still come; a node that fits will not.
        Phase::Pending if !message.starts_with("waits for") && !message.is_empty() => Some(message),
        Phase::Pending if message.contains("but it ended with exit code") => Some(message),
        _ => None,
    }
}

/// The failure of a replica, with the last lines that it wrote.
async fn explain(cluster: &Cluster, trouble: Trouble) -> Failure {
    let (replica, why) = match trouble {
        Trouble::Failure(failure) => return failure,
        Trouble::Replica(replica, why) => (replica, why),
    };
    let failure =
        Failure::error(format!("{} (replica {}) does not come up: {why}", replica.service, replica.slot))
            .hint(format!(
                "`gantry why {}` says more; `gantry logs {}` shows what it wrote",
                replica.service, replica.service
            ));
    let lines = last_lines(cluster, &replica.id).await;
    if lines.is_empty() {
        failure
    } else {
        failure.details(format!("the last lines of {}:\n{lines}", replica.container_name))
    }
}

/// The last lines that a replica wrote; nothing if they cannot be had.
async fn last_lines(cluster: &Cluster, replica: &str) -> String {
    let request = StreamLogsRequest {
        replicas: vec![replica.to_owned()],
        tail: Some(LOG_LINES),
        ..StreamLogsRequest::default()
    };
    let reading = async {
        let mut text = String::new();
        let mut pieces = cluster.replicas().stream_logs(request).await.ok()?.into_inner();
        while let Ok(Some(piece)) = pieces.message().await {
            if piece.warning.is_empty() {
                text.push_str("  | ");
                text.push_str(String::from_utf8_lossy(&piece.data).trim_end());
                text.push('\n');
            }
        }
        Some(text)
    };
    timeout(Duration::from_secs(5), reading).await.ok().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(state: &str, phase: Phase, message: &str) -> Replica {
        let mut replica =
            Replica { id: "r1".into(), state: state.into(), message: message.into(), ..Replica::default() };
        replica.set_goal(Goal::Run);
        replica.set_phase(phase);
        replica
    }

    #[test]
    fn a_failed_job_is_given_up_at_once_and_a_slow_start_is_not() {
        let now = Instant::now();
        let mut failed = replica("exited", Phase::Exited, "ended with exit code 3");
        failed.exit_code = Some(3);
        assert!(Stuck::default().find(&[failed], now).is_some());

        let mut stuck = Stuck::default();
        let waiting = replica("pending", Phase::Pending, "waits for db to be healthy");
        assert!(stuck.find(std::slice::from_ref(&waiting), now).is_none());
        assert!(stuck.find(&[waiting], now + Duration::from_mins(5)).is_none());
    }

    #[test]
    fn what_does_not_help_itself_is_given_up_after_a_while() {
        let now = Instant::now();
        let mut stuck = Stuck::default();
        let failing = [replica("failed", Phase::Failed, "port is already allocated")];
        assert!(stuck.find(&failing, now).is_none());
        assert!(stuck.find(&failing, now + Duration::from_secs(10)).is_none());
        let (_, why) = stuck.find(&failing, now + STUCK).unwrap();
        assert_eq!(why, "port is already allocated");
        // Somebody that recovered in between begins anew.
        let mut stuck = Stuck::default();
        stuck.find(&failing, now);
        stuck.find(&[replica("running", Phase::Running, "")], now + Duration::from_secs(10));
        assert!(stuck.find(&failing, now + STUCK).is_none());
    }
}
