//! Measures what a STOMP-over-WebSocket server costs, beside the least that such a server can cost.
//!
//! Two programs share this library. `load` plays many clients from one thread: it speaks raw STOMP over WebSocket,
//! always in a closed loop, so that a slow server slows the load instead of drowning in it. `floor` is the server to
//! compare with: it fans one ready-made frame out to every subscriber and knows nothing else, so its cost is that of
//! the system calls. [`suite`] runs both kinds of server in turns and prints the ratios.
//!
//! ```text
//! suite -> scenario::{fanout, unicast, connect, idle, heart_beat, slow} -> pool -> client -> {ws, stomp}
//!                                                                       -> {process, report}
//! floor ------------------------------------------------------------------------> {ws, stomp}
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
pub mod ws;

pub use error::{Error, Result};
