//! What hangs, fails, crashes or ends badly is noticed, taken out of the routes and repaired: never more
//! than is wise, and also when the watchdog is killed meanwhile. And people are told.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

mod alerts;
mod autoheal;
mod circuit;
mod crash;
mod depends;
mod hang;
mod life;
mod one;
mod order;
mod world;
