//! Transports: HTTP routes of one endpoint.
pub mod sockjs;
pub mod websocket;
