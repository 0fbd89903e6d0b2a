//! Sessions: the seam to transports, and the loop that drives one STOMP connection.
pub mod link;
