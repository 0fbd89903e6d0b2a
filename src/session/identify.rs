//! Who a client is: the seam for authentication.

use std::future::Future;
use std::pin::Pin;

use bytestring::ByteString;
use stampede_protocol::stomp::Fault;
use stampede_protocol::stomp::session::Connect;

use super::link::Handshake;
use crate::broker::Identity;

/// The answer to one CONNECT.
pub type Identified = Pin<Box<dyn Future<Output = Result<Identity, Fault>> + Send>>;

/// Decides who sent a CONNECT, from what it carries and from the request that opened the connection.
pub trait Authenticator: Send + Sync + std::fmt::Debug {
    /// Grants or refuses. The future must end by itself in bounded time; the session reads nothing meanwhile.
    ///
    /// # Errors
    ///
    /// The fault is told to the client, which is then closed: say nothing in it that helps an attacker.
    fn identify(&self, connect: &Connect, handshake: &Handshake) -> Identified;
}

/// Believes what a CONNECT header says: for development and trusted networks.
#[derive(Debug)]
pub struct Trusting {
    /// The header that names the user.
    pub user_header: String,
}

impl Authenticator for Trusting {
    fn identify(&self, connect: &Connect, _handshake: &Handshake) -> Identified {
        // Copied: the decoded header is a slice of the read buffer, and the name lives as long as the session.
        let name = connect.headers.get(&self.user_header).filter(|name| !name.is_empty());
        let name = name.map(|name| ByteString::from(&**name));
        Box::pin(std::future::ready(Ok(Identity { name, ..Identity::default() })))
    }
}
