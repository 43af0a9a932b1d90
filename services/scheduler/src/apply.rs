//! The only place where decisions become writes.
//!
//! Wakes on every change and on a timer, decides on everything again, and commits what was decided.
//! What a message says is never a reason to act: only the state is.

use std::time::Duration;

use gantry_boot::now;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::decide::decide;
use crate::state::State;

/// Deadlines inside decisions (drain timeouts, delays) are noticed within this time.
const TICK: Duration = Duration::from_millis(250);
/// Changes that come together are decided on together.
const GATHER: Duration = Duration::from_millis(5);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Decides and commits until `stop`.
pub async fn run(state: State, stop: CancellationToken) {
    let mut changes = state.subscribe();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                sleep(GATHER).await;
                changes.mark_unchanged();
            }
        }
        match step(&state).await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("the store can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                if !failing {
                    tracing::error!(
                        error = gantry_boot::chain(&error),
                        "cannot store decisions; trying again"
                    );
                }
                failing = true;
                sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}

async fn step(state: &State) -> Result<(), gantry_store::Error> {
    // Most wakes have nothing to do: find that out without the writer's lock.
    if decide(&state.snapshot(), now()).changes.is_empty() {
        return Ok(());
    }
    let actions = state
        .commit::<_, gantry_store::Error>(|snapshot| {
            let plan = decide(snapshot, now());
            Ok((plan.changes, plan.actions))
        })
        .await?;
    for action in actions {
        tracing::debug!(%action, "decided");
    }
    Ok(())
}
