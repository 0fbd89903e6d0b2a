//! STOMP 1.0, 1.1 and 1.2 and the SockJS 0.3.3 session protocol, without I/O.
//!
//! Nothing in here opens a socket, reads a clock, spawns a task or writes a log: bytes, frames and instants go in,
//! values come out. A server drives these types from its tasks, a test drives them from a table, and a conformance
//! tool drives them from a transcript.

pub mod limits;
pub mod sockjs;
pub mod stomp;

pub use limits::Limits;

/// Keeps the example of the README true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
