//! Test notices: a person asks, the watchdog sends, the person hears what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gantry_api::cluster::v1::AlertDelivery;
use gantry_api::feed::v1::ReceiverTest;
use tokio::sync::mpsc;

/// Tests at one time.
const MOST: usize = 8;

/// The tests that somebody waits for. Clones share them.
#[derive(Clone, Default)]
pub struct Trials(Arc<Mutex<BTreeMap<String, Trial>>>);

struct Trial {
    waiting: BTreeSet<String>,
    outcomes: mpsc::Sender<AlertDelivery>,
}

/// A test that somebody waits for, until this is dropped.
pub struct Running {
    trials: Trials,
    id: String,
    /// What became of each notice.
    pub outcomes: mpsc::Receiver<AlertDelivery>,
}

impl Trials {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Trial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a test of these receivers; `None` while too many are under way.
    pub fn begin(&self, id: String, receivers: BTreeSet<String>) -> Option<Running> {
        let mut trials = self.lock();
        if trials.len() >= MOST {
            return None;
        }
        let (sender, outcomes) = mpsc::channel(receivers.len().max(1));
        trials.insert(id.clone(), Trial { waiting: receivers, outcomes: sender });
        Some(Running { trials: self.clone(), id, outcomes })
    }

    /// Takes what became of a notice. Of one that nobody waits for, nothing is kept.
    pub fn take(&self, id: &str, outcome: AlertDelivery) {
        let mut trials = self.lock();
        let Some(trial) = trials.get_mut(id) else { return };
        if trial.waiting.remove(&outcome.receiver) {
            // There is room for one of each.
            let _ = trial.outcomes.try_send(outcome);
        }
    }

    /// What is still to be sent.
    pub fn open(&self) -> Vec<ReceiverTest> {
        let trials = self.lock();
        let open = trials.iter().filter(|(_, trial)| !trial.waiting.is_empty());
        open.map(|(id, trial)| ReceiverTest {
            id: id.clone(),
            receivers: trial.waiting.iter().cloned().collect(),
        })
        .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.trials.lock().remove(&self.id);
    }
}
