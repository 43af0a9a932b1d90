//! What to do next: pure functions of a [`Snapshot`] and a time.
//!
//! [`decide`] runs its stages in order on a working copy. Each pushes [`Action`]s; an action knows
//! which records it changes and what it says to people, so one value serves the log, the event, the
//! test and the store. Nothing in this folder reads a clock, draws a random number or waits.

mod action;
mod address;
mod count;
mod depends;
mod drain;
mod elsewhere;
mod explain;
mod filter;
mod finish;
mod heal;
pub mod killed;
mod load;
pub mod lost;
mod moves;
mod overlay;
mod place;
mod plan;
mod ports;
mod rank;
mod rebalance;
mod relocate;
mod restart;
mod retire;
mod service_address;
mod tables;
mod update;
mod verdicts;

pub use action::{Action, SCALED};
pub use address::{Exhausted, Pool, SMALLEST_PREFIX};
pub use elsewhere::Elsewhere;
pub use explain::explain;
pub use heal::repair_grace;
pub use moves::MoveStep;
pub use overlay::{apart, participants};
pub use plan::{Plan, record_event};
pub use ports::published;
pub use rebalance::{Move, mark, moves};
pub use relocate::{is_drained, leaves};
pub use service_address::vip_range;
pub use tables::{Everywhere, HTTP_PORT, HTTPS_PORT, everywhere, table};

pub use verdicts::act_on;

use gantry_model::{Snapshot, Timestamp};

/// All that is to be done now. Deciding again on the outcome gives nothing more to do, until
/// something is seen or time passes.
pub fn decide(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let mut plan = Plan::new(snapshot, now);
    finish::record_outcomes(&mut plan);
    retire::retire(&mut plan);
    count::count(&mut plan);
    heal::heal(&mut plan);
    relocate::relocate(&mut plan);
    update::update(&mut plan);
    restart::restart(&mut plan);
    moves::advance(&mut plan);
    ports::choose(&mut plan);
    service_address::give(&mut plan);
    place::place(&mut plan);
    overlay::spread(&mut plan);
    drain::forget_proxies(&mut plan);
    drain::advance(&mut plan);
    finish::clean_up(&mut plan);
    service_address::release(&mut plan);
    plan
}

#[cfg(test)]
mod tests;
