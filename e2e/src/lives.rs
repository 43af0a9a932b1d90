use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::wait::eventually;

/// Writes down when containers of stacks start and end, as the engine says: nothing is missed between two
/// looks.
pub struct Lives {
    path: std::path::PathBuf,
    child: Child,
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When, since 1970 by the engine's clock.
    pub at: Duration,
    /// What: `start`, `kill` with its signal, `die` with its exit code, `oom`, `destroy`, …
    pub what: String,
    /// The signal or the exit code.
    pub number: Option<i64>,
    /// The container's name.
    pub container: String,
    /// The service's full name; empty outside of stacks.
    pub service: String,
}

impl Lives {
    /// Begins with what happens from now on, of all containers of the engine.
    pub fn of(cluster: &Cluster) -> Self {
        let path = cluster.folder().join("lives");
        let child = Command::new("docker")
            .args(["events", "--since", &now(), "--filter", "type=container", "--format", "{{json .}}"])
            .args(["start", "kill", "die", "oom", "destroy"].map(|what| format!("--filter=event={what}")))
            .stdout(File::create(&path).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self { path, child }
    }

    /// All that happened so far, in order.
    pub fn all(&self) -> Vec<Moment> {
        let text = eventually("the engine's events can be read", || fs::read_to_string(&self.path).ok());
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter_map(|line| moment(&serde_json::from_str(line).ok()?)).collect()
    }

    /// When containers of a service were started, in order.
    pub fn starts(&self, service: &str) -> Vec<Moment> {
        let start = |moment: &Moment| moment.what == "start" && moment.service == service;
        self.all().into_iter().filter(start).collect()
    }

    /// How often each container of a service was started.
    pub fn counts(&self, service: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for moment in self.starts(service) {
            *counts.entry(moment.container).or_default() += 1;
        }
        counts
    }

    /// How many containers of a service were away at the same time at most: from their end to their start, or
    /// to their removal.
    pub fn away_at_once(&self, service: &str) -> usize {
        let (mut away, mut most) = (std::collections::BTreeSet::new(), 0);
        for moment in self.all().into_iter().filter(|moment| moment.service == service) {
            match moment.what.as_str() {
                "die" => drop(away.insert(moment.container)),
                "start" | "destroy" => drop(away.remove(&moment.container)),
                _ => {}
            }
            most = most.max(away.len());
        }
        most
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what happened to containers");
            for Moment { at, what, number, container, .. } in self.all() {
                eprintln!("{:.3} {container}: {what} {}", at.as_secs_f64(), number.unwrap_or_default());
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn moment(event: &Value) -> Option<Moment> {
    let about = &event["Actor"]["Attributes"];
    let text = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
    let number = about["signal"].as_str().or(about["exitCode"].as_str());
    Some(Moment {
        at: Duration::from_nanos(event["timeNano"].as_u64()?),
        what: event["Action"].as_str()?.to_owned(),
        number: number.and_then(|number| number.parse().ok()),
        container: text("name"),
        service: text("gantry.service"),
    })
}
