use std::time::Duration;

use gantry_boot::{DenyList, chain, now};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::remove::stale;
use crate::state::State;

const CLEAN_EVERY: Duration = Duration::from_mins(10);

/// Keeps the server's list what the state says, and the state free of what says nothing any more, until
/// `stop`.
pub async fn keep_denied(state: State, list: DenyList, stop: CancellationToken) {
    let mut changes = state.subscribe();
    let mut cleaning = interval(CLEAN_EVERY);
    cleaning.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let snapshot = changes.borrow_and_update().clone();
        list.set(snapshot.denied.keys().cloned().collect());
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            _ = cleaning.tick() => {
                let cleaned = state
                    .commit::<_, gantry_store::Error>(|snapshot| Ok((stale(snapshot, now()), ())))
                    .await;
                if let Err(error) = cleaned {
                    tracing::warn!(error = chain(&error), "cannot clean old tokens away");
                }
            }
        }
    }
}
