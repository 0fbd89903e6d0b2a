//! Stampede: a STOMP-over-WebSocket broker relay.

pub mod broker;
pub mod config;
pub mod mailbox;
pub mod message;
pub mod node;
pub mod rooms;
pub mod routes;
pub mod session;
pub mod telemetry;
pub mod transport;
