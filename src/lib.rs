//! Stampede: a STOMP-over-WebSocket broker relay.

pub mod broker;
pub mod close;
pub mod config;
pub mod destination;
pub mod ids;
pub mod mailbox;
pub mod message;
pub mod node;
pub mod outbox;
pub mod rooms;
pub mod routes;
pub mod session;
pub mod telemetry;
pub mod timers;
pub mod transport;
pub mod web;
