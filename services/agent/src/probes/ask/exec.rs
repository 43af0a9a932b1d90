//! A process in the container. The engine cannot kill one: what takes too long goes on, and the next is
//! not begun before it has ended. So each check has at most one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::managed::Runtime;

/// Of what a process wrote this much is told.
const MAX_WORDS: usize = 200;

/// The process of one check.
#[derive(Debug)]
pub struct Process {
    place: Arc<Semaphore>,
    running: JoinSet<()>,
}

impl Default for Process {
    fn default() -> Self {
        Self { place: Arc::new(Semaphore::new(1)), running: JoinSet::new() }
    }
}

impl Process {
    /// Passes when the process ends with 0 in that time, or says why not.
    pub async fn run<R: Runtime>(
        &mut self,
        runtime: &R,
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<(), String> {
        while self.running.try_join_next().is_some() {}
        let Ok(place) = self.place.clone().try_acquire_owned() else {
            return Err("the one before has not ended yet".to_owned());
        };
        let (runtime, container, command) = (runtime.clone(), container.to_owned(), command.to_owned());
        let (tell, told) = tokio::sync::oneshot::channel();
        self.running.spawn(async move {
            let ended = runtime.check_inside(&container, &command).await;
            drop(place);
            // Nobody may be waiting any more.
            let _ = tell.send(ended);
        });
        match timeout(limit, told).await {
            Err(_) | Ok(Err(_)) => Err(format!("has not ended within {limit:?}")),
            Ok(Ok(Err(error))) => Err(error.message),
            Ok(Ok(Ok((0, _)))) => Ok(()),
            Ok(Ok(Ok((code, wrote)))) => Err(match last_line(&wrote) {
                line if line.is_empty() => format!("ended with exit code {code}"),
                line => format!("ended with exit code {code}: {line}"),
            }),
        }
    }
}

fn last_line(text: &str) -> String {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}
