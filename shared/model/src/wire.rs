//! Conversions between the model and the messages of `proto/`: parsed once, at the border.
//!
//! From a message: `read_*`, which check everything and name the field that is wrong. To a
//! message: `write_*`, which cannot fail.

mod container;
mod membership;
mod parts;
mod ports;
mod route;
mod spec;
mod status;
mod view;

pub use container::{read_container, write_container};
pub use membership::{read_availability, write_availability, write_membership, write_token};
pub use parts::{read_time, write_duration, write_time};
pub use ports::{read_ports, write_ports};
pub use spec::{read_stack, write_service_spec, write_stack};
pub use status::{
    read_host, read_lineage, read_replica_status, read_table_version, write_goal, write_health, write_host,
    write_lineage, write_replica_status, write_table_version,
};
pub use view::{View, state_word};
