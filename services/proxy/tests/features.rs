//! Every feature of the proxy, seen from outside: the binary with a file, clients before it and upstreams
//! behind it. What is hostile has tests of its own, in `conformance`.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used)]
// What is done a few times may be written in the shortest way.
#![allow(clippy::format_collect, clippy::naive_bytecount, clippy::needless_for_each)]

mod support;

#[path = "features/affinity.rs"]
mod affinity;
#[path = "features/balancing.rs"]
mod balancing;
#[path = "features/bytes.rs"]
mod bytes;
#[path = "features/compression.rs"]
mod compression;
#[path = "features/failures.rs"]
mod failures;
#[path = "features/filters.rs"]
mod filters;
#[path = "features/guide.rs"]
mod guide;
#[path = "features/logs.rs"]
mod logs;
#[path = "features/pages.rs"]
mod pages;
#[path = "features/proxies.rs"]
mod proxies;
#[path = "features/queue.rs"]
mod queue;
#[path = "features/reload.rs"]
mod reload;
#[path = "features/routes.rs"]
mod routes;
#[path = "features/tls.rs"]
mod tls;
#[path = "features/upstreams.rs"]
mod upstreams;
