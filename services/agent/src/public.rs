//! The agent's own lifecycle API: one host, useful alone through any gRPC client.

mod containers;
mod guard;
mod host;
mod images;
mod process;
mod resources;
mod upload;

pub use containers::Containers;
pub use host::HostInfo;
pub use images::Images;
pub use process::{Input, carry as carry_process, exec_message, log_piece};
pub use resources::Resources;

use std::pin::Pin;

use futures_util::Stream;
use tonic::Status;

/// What streaming calls answer with.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
