//! Compose files become what Gantry runs.
//!
//! [`load`] reads a file in four steps, each a module: text → [`tree`] (YAML with the place of every
//! value), variables put in ([`interpolate`]), then sections read field by field into the model.
//! Nothing is dropped in silence: an unknown key is an error with its line and the nearest known key,
//! a known key that Gantry does not honour yet is a warning with its line. [`read_alerts`] reads the
//! file of alerts in the same way.

mod alerts;
mod autoscale;
mod build;
mod depends;
mod deploy;
mod diagnostic;
mod dotenv;
mod environment;
mod flags;
mod health;
mod hooks;
mod interpolate;
mod keys;
mod mounts;
mod networks;
mod placement;
mod policy;
mod ports;
mod probe;
mod project;
mod route;
mod section;
mod service;
mod tree;
mod units;

pub use alerts::read_alerts;
pub use build::Build;
pub use diagnostic::{Diagnostic, Level, Problems, Source};
pub use dotenv::parse as parse_dotenv;
pub use flags::{ContainerFlags, FlaggedContainer, parse_container_flags};
pub use project::{Options, Project, find_file, load};
pub use section::nearest;
pub use tree::{Node, Value};
