//! The client's side of a connection, whatever carries it: for the conformance kit and for the tools on the command line.
//!
//! ```text
//! entrance    how to get in, from the command line
//! target      where the server is, from a URL
//! carrier     what can carry STOMP there
//! stream      TCP, or TLS over it
//! wire        one connection: what goes out and what comes in, the same for every carrier
//! websocket   … over a WebSocket, bare or with SockJS's frames in it
//! http        requests of SockJS's other transports, and of whoever wants to see the very octets of an answer
//! sockjs      … over those
//! ```
//!
//! It shares no code with the server's side: what judges a server must not have its mistakes.

pub mod carrier;
pub mod entrance;
pub mod http;
mod sockjs;
mod stream;
pub mod target;
mod websocket;
pub mod wire;
