//! Starts and removes Gantry's own containers on a Docker host.
//!
//! [`Layout`] says what they are; [`Host`] is the Docker Engine that they run on. Nothing outside this
//! folder names bollard.

mod clean_up;
mod files;
mod host;
mod images;
mod layout;
mod once;
mod relief;

pub use host::{Host, Standing};
pub use layout::{Cluster, Layout, Part, advertised_in, mtu_in};
