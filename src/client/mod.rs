//! The client's side of a connection, whatever carries it: for the conformance kit and for the tools on the command line.
//!
//! ```text
//! entrance    how to get in, from the command line
//! target      where the server is, from a URL
//! carrier     what can carry STOMP there
//! stream      TCP, or TLS over it
//! wire        one connection: what goes out and what comes in, the same for every carrier
//! queue       what waits between it and whoever uses it
//! websocket   … over a WebSocket, bare or with SockJS's frames in it
//! http        requests of SockJS's other transports
//! sockjs      … over those
//! octets      one connection whose octets are seen as they are
//! ```
//!
//! It shares no code with the server's side: what judges a server must not have its mistakes.

pub mod carrier;
pub mod entrance;
pub mod http;
pub mod octets;
mod queue;
mod sockjs;
mod stream;
pub mod target;
mod websocket;
pub mod wire;
