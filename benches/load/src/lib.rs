//! Measures what a STOMP-over-WebSocket server costs, beside the least that such a server can cost.
//!
//! The scenarios play many clients from a few threads, in raw STOMP over WebSocket. [`cli`] is `stampede bench`: one of them,
//! or a short round, against any server. With the feature `suites` the program `load` starts servers itself and prints
//! what they cost beside `floor`, a server that fans one ready-made frame out to every subscriber and knows nothing else, so
//! that its cost is that of the system calls.
//!
//! ```text
//! cli, suite, cluster -> scenario::{fanout, unicast, topics, slow} -> scenario::flow  -> pool -> {client, stream} -> {ws, stomp}
//!                        scenario::{connect, reconnect, idle}      -> scenario::storm -> {process, report, progress}
//! floor -----------------------------------------------------------------------------------------------------> {ws, stomp}
//! ```
//!
//! Linux only: the cost of the server is read from `/proc`.

pub mod child;
pub mod cli;
pub mod client;
#[cfg(feature = "suites")]
pub mod cluster;
pub mod error;
pub mod floor;
pub mod handshake;
pub mod pool;
pub mod process;
pub mod progress;
pub mod report;
pub mod scenario;
pub mod stomp;
pub mod stream;
#[cfg(feature = "suites")]
pub mod suite;
pub mod target;
pub mod trust;
pub mod ws;

pub use error::{Error, Result};
