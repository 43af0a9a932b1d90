//! Who is a member: tokens to join with, certificates, their renewal, and the end of a membership.
//!
//! [`admit`] and [`remove`] decide, purely; the services around them speak to people ([`Tokens`]), to
//! machines that are no members yet ([`Joining`]) and to nodes ([`Members`]). [`Office`] is what they share.

mod admit;
mod deny;
mod joining;
mod members;
mod office;
mod rate;
mod remove;
mod renewal;
mod tokens;

pub use admit::check_labels;
pub use deny::keep_denied;
pub use joining::{Joining, LARGEST};
pub use members::Members;
pub use office::{Office, scheduler_addresses};
pub use remove::{NotRemoved, objection, removal};
pub use renewal::keep_own_renewed;
pub use tokens::Tokens;
