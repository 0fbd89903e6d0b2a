//! Addresses of clients: which networks they lie in, where a proxy says they are, how many of something each has, and how fast it
//! begins more.
//!
//! ```text
//! socket --PROXY protocol--> address --a trusted proxy?--> X-Forwarded-For --> the client's address
//! ```

mod counted;
mod forwarded;
mod network;
mod paced;
pub mod proxy_protocol;

pub use counted::{Counted, Guard, TooMany};
pub use forwarded::client;
pub use network::{Network, any_holds};
pub use paced::{Paced, TooFast};
