//! Conversions between the model and the messages of `proto/`: parsed once, at the border.
//!
//! From a message: `read_*`, which check everything and name the field that is wrong. To a
//! message: `write_*`, which cannot fail.

mod alert;
mod autoscale;
mod case;
mod conditions;
mod container;
mod membership;
mod parts;
mod ports;
mod probe;
mod reader;
mod route;
mod spec;
mod status;
mod view;
mod words;

pub use alert::{
    read_alert, read_alert_severity, read_grouping, read_receiver_access, read_rule, read_silence,
    write_alert, write_alert_severity, write_grouping, write_receiver, write_receiver_access, write_rule,
    write_silence,
};
pub use autoscale::{read_autoscale, write_autoscale};
pub use case::{is_crash, read_end, read_verdict, write_case, write_course, write_hearing};
pub use container::{read_container, write_container};
pub use membership::{read_availability, write_availability, write_membership, write_token};
pub use parts::{read_time, write_duration, write_time};
pub use ports::{read_ports, write_ports};
pub use probe::{read_probe, write_probe};
pub use reader::autoscale_without_secrets;
pub use spec::{read_stack, write_service_spec, write_stack};
pub use status::{
    read_host, read_lineage, read_replica_status, read_table_version, write_goal, write_health, write_host,
    write_lineage, write_replica_status, write_table_version,
};
pub use view::{View, state_word};
