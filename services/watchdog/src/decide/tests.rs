//! Whole services and clusters: what is repaired now, what waits, and what holds whatever happens.

mod histories;
mod services;
mod simulator;
