//! One frame, decoded.

use bytes::Bytes;
use bytestring::ByteString;

use super::{Command, Headers};

/// A frame: command, decoded headers, body octets.
///
/// ```
/// use stampede_protocol::stomp::{Command, Frame};
///
/// let frame = Frame::new(Command::Subscribe).with("id", "0").with("destination", "/topic/a");
/// assert_eq!(frame.header("destination").map(|value| &**value), Some("/topic/a"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The command.
    pub command: Command,
    /// Decoded headers; `content-length` included when the peer wrote one.
    pub headers: Headers,
    /// The body, shared and immutable.
    pub body: Bytes,
}

impl Frame {
    /// A frame without headers or body.
    #[must_use]
    pub const fn new(command: Command) -> Self {
        Self { command, headers: Headers::new(), body: Bytes::new() }
    }

    /// The same frame with one more header behind the others.
    #[must_use]
    pub fn with(mut self, name: impl Into<ByteString>, value: impl Into<ByteString>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The value of the first header with this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&ByteString> {
        self.headers.get(name)
    }

    /// The answer to a frame that asked for a receipt.
    #[must_use]
    pub fn receipt(receipt: &ByteString) -> Self {
        Self::new(Command::Receipt).with("receipt-id", receipt.clone())
    }
}
