//! SockJS 0.3.3, server side, without I/O: frames, quoting, URLs, pages and the state machine of an HTTP session.
//!
//! ```text
//!   URL path ── path ──► Route ── transport ──► prelude, wrapping
//!   xhr_send body ── payload ──► messages ──► application
//!   application ── quote ──► Session (queue, receiver, heart-beat, delays) ── frame, Wrapping ──► chunks
//! ```
//!
//! Nothing here knows HTTP headers, sockets or a clock. Where the protocol leaves a choice, the reference server
//! (sockjs-node) and the browser library (sockjs-client) were the measure; each choice is named where it is made.

pub mod frame;
pub mod pages;
pub mod path;
pub mod payload;
pub mod quote;
pub mod session;
pub mod transport;

pub use path::Route;
pub use payload::PayloadFault;
pub use session::{Attach, Session, Settings, Take};
pub use transport::{Callback, Method, Transport, Wrapping};
