//! Which endpoint gets a request, and what is remembered of it.
//!
//! Every core has its own [`Backend`]s and [`Endpoint`]s, with its own connections and counts of what is
//! in flight, so that choosing touches nothing that another core writes. What cores must share (who is
//! left out, limits, who waits) is in a [`State`], which is written only on failure or where a limit is set.

mod backend;
mod choose;
mod endpoint;
mod registry;
mod state;
mod waiting;

pub use backend::{Backend, Group};
pub use choose::{Key, hash_of};
pub use endpoint::{Endpoint, InFlight};
pub use registry::Registry;
pub use state::{BackendState, CLASSES, Counters, LATENCY_BOUNDS, Life, State, millis};
pub use waiting::Waiting;
