//! STOMP frames: grammar, codec, session state machine.
//!
//! ```text
//! octets ──▶ Decoder ──▶ Frame ──▶ Session ──▶ Request          Frame ──▶ encode ──▶ octets
//!               │          ▲                                  Headers ──▶ MessageTemplate ──▶ octets, per subscriber
//!             parse     escape
//! ```
//!
//! The grammar stands in `parse.rs`, with every point where it is wider or narrower than the published ones. What always
//! holds: where octets were cut means nothing; bounds act while octets arrive; whatever was read can be written, and a
//! value can never become a header or end a frame.

pub mod command;
pub mod decoder;
pub mod encode;
pub mod escape;
pub mod fault;
pub mod frame;
pub mod headers;
pub mod heartbeat;
pub mod message;
mod parse;
mod scan;
pub mod session;
pub mod version;

pub use command::Command;
pub use decoder::{Decoder, Item};
pub use encode::{encode, encode_head};
pub use fault::{Fault, FaultKind};
pub use frame::Frame;
pub use headers::Headers;
pub use heartbeat::{Agreed, HeartBeat, Pulse};
pub use message::{Delivery, MessageTemplate};
pub use session::{Session, SessionConfig, SessionLimits};
pub use version::Version;
