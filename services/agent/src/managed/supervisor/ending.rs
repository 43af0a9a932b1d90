//! How a supervisor ends a process, and what it runs in a container before that and after a start.

use std::time::Duration;

use gantry_api::agent::v1::ContainerState as State;
use gantry_model::Goal;
use tokio::time::Instant;

use super::{Sight, Supervisor};
use crate::engine::{Error, Observed};
use crate::managed::assignment::Assignment;
use crate::managed::history::History;
use crate::managed::hooks;
use crate::managed::lease::Standing;
use crate::managed::runtime::Runtime;

impl<R: Runtime> Supervisor<R> {
    /// Runs the hooks before a stop, then stops the container, all within `grace`; `None` is its own.
    pub(super) async fn end(
        &mut self,
        id: &str,
        desired: Option<&Assignment>,
        observed: Option<&Observed>,
        grace: Option<Duration>,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        let runs = observed.is_some_and(|observed| observed.state == State::Running);
        if runs {
            shared.lives.change(&self.replica, History::ask);
        }
        let Some(container) = desired.map(|desired| &desired.container) else {
            // Nobody knows any more what it was to do before; its own grace the engine knows.
            return shared.runtime.stop(id, None).await.map(drop);
        };
        let (began, grace) = (Instant::now(), grace.unwrap_or_else(|| container.stop_grace()));
        let before = hooks::before_stop(grace);
        let pre_stop = if runs { container.pre_stop.as_slice() } else { &[] };
        if let Err(problem) = hooks::run(&shared.runtime, id, "pre_stop", pre_stop, before).await {
            tracing::warn!(replica = %self.replica, %problem, "stopping it all the same");
            self.said = problem.told();
        }
        if shared.runtime.stop(id, Some(grace.saturating_sub(began.elapsed()))).await? {
            shared.lives.change(&self.replica, History::kill);
            self.said =
                format!("it did not end within its stop grace of {} s, and was killed", grace.as_secs_f32());
            tracing::warn!(replica = %self.replica, "{}", self.said);
        }
        Ok(())
    }

    /// Runs the hooks of a run that has just begun. Once: what a hook did is not done twice because it failed.
    pub(super) async fn post_start(&mut self, desired: &Assignment, observed: &Observed) {
        let shared = self.shared.clone();
        let running = hooks::run(
            &shared.runtime,
            &observed.id,
            "post_start",
            &desired.container.post_start,
            hooks::AFTER_START,
        );
        let started_at = observed.started_at;
        let mut changes = self.input.subscribe();
        // Not any more: it is to end, or another run has begun.
        let over = changes.wait_for(|input| match &input.sight {
            Sight::Present(seen) => {
                seen.state != observed.state
                    || seen.started_at != started_at
                    || input.desired.as_ref().is_none_or(|desired| desired.goal != Goal::Run)
                    || input.standing == Standing::Over && desired.exclusive
            }
            Sight::Unknown | Sight::Absent => true,
        });
        let ended = tokio::select! {
            ended = running => ended,
            _ = over => return,
        };
        if let Err(problem) = ended {
            tracing::warn!(replica = %self.replica, %problem, "a hook failed; its container runs on");
            let problem = problem.told();
            // It may have had to be killed before this start, which matters as much.
            if self.said.is_empty() {
                self.said = problem;
            } else if !self.said.contains(&problem) {
                self.said = format!("{}; {problem}", self.said);
            }
        }
        shared.lives.change(&self.replica, |history| history.hooked = started_at);
    }
}
