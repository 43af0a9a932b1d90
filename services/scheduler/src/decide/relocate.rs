//! stub
use gantry_model::{Replica, Snapshot};
/// stub
pub fn explain(_: &Snapshot, _: &Replica) -> Vec<String> {
    Vec::new()
}
