//! What an endpoint's SockJS side counts; telemetry reads it.

use std::sync::atomic::AtomicU64;

/// Counters of one endpoint. The first two go up and down, the others only grow.
#[derive(Debug, Default)]
pub struct SockJsCounters {
    /// HTTP sessions whose id is taken, closed ones that still say so included.
    pub sessions_open: AtomicU64,
    /// Receiving requests that are attached to their session right now.
    pub receivers_attached: AtomicU64,
    /// HTTP sessions begun.
    pub sessions_begun: AtomicU64,
    /// Requests and handshakes of pages that may not connect.
    pub refused_origin: AtomicU64,
    /// Sessions not begun because the endpoint has as many as it may have.
    pub refused_full: AtomicU64,
    /// Receivers that came while another was attached.
    pub refused_busy: AtomicU64,
    /// Receivers that came for a session that was lost shortly before.
    pub refused_lost: AtomicU64,
    /// Sends to a session this node does not know: without sticky balancing they land on the wrong node.
    pub unknown_session: AtomicU64,
    /// Bodies and WebSocket messages that were not an array of strings.
    pub bad_payload: AtomicU64,
    /// Messages dropped because they were not text.
    pub binary_dropped: AtomicU64,
    /// Sessions ended because too much output waited.
    pub queue_overflow: AtomicU64,
    /// Streaming answers broken off because their peer took nothing.
    pub stalled: AtomicU64,
    /// Sessions lost with the connection of their receiver.
    pub aborted: AtomicU64,
    /// Sessions to which no receiver came back.
    pub expired: AtomicU64,
    /// WebSockets dropped because a ping stayed unanswered.
    pub silent: AtomicU64,
}
