//! STOMP frames: grammar, codec, session state machine.

pub mod command;
pub mod fault;
pub mod frame;
pub mod headers;
pub mod version;

pub use command::Command;
pub use fault::{Fault, FaultKind};
pub use frame::Frame;
pub use headers::Headers;
pub use version::Version;
