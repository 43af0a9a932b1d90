//! HTTP, from a client's bytes to an endpoint and back. [`stack`] reads from top to bottom: it is what
//! happens to a request.

mod answer;
mod body;
mod chunks;
mod client;
mod compress;
#[cfg(test)]
mod fuzz;
mod guard;
mod head;
mod headers;
mod note;
mod queue;
mod response;
mod rules;
mod serve;
mod silent;
mod stack;
mod sticky;
mod target;
mod tunnel;

pub use body::{Progress, RequestBody, ResponseBody};
pub use client::{Client, Entry};
pub use guard::ClientLimits;
pub use head::HeadLimits;
pub use rules::Refusal;
pub use serve::{http1, http2};
pub use silent::first_bytes;
pub use sticky::set_key;
