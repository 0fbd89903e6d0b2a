//! STOMP frames: grammar, codec, session state machine.

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
