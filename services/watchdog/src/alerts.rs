//! Alerts: what people are told.
//!
//! [`facts`] are taken out of the feed and of what the judge of repairs found in it, [`rules`] say what is wrong with them, [`evaluate`] says what
//! began and what ended. The scheduler stores that, and it comes back in the [`book`]: so a watchdog that
//! starts anew knows what its predecessor told whom. [`notice`] and [`pace`] say who has to be told what
//! now, [`body`] in which words, and [`send`] does it; [`hide`] keeps what is secret out of what comes back. All but [`book`], [`traffic`], [`send`] and
//! [`run`] are pure.

mod body;
mod book;
mod evaluate;
mod facts;
mod hide;
mod notice;
mod pace;
mod rules;
mod run;
mod send;
mod traffic;

pub use evaluate::{AlertChange, AlertMemory, Finding, Fingerprint, RESOLVE_AFTER, evaluate};
pub use facts::{Facts, Health, NodeFacts, ServiceFacts};
pub use rules::judge;
pub use run::{Sight, run};
