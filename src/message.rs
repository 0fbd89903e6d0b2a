//! A message on its way through the broker.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use stampede_protocol::stomp::Headers;

/// One message on its way: shared by all receivers, never copied.
pub struct Message {
    /// Unique over nodes and restarts, e.g. `k3f9x2-1f`. A message that is delivered again keeps it, which is how a
    /// receiver tells a repetition from a new message.
    pub id: ByteString,
    /// Where it was sent, in canonical form. What a subscriber reads may differ: it is told what it subscribed to.
    pub destination: ByteString,
    /// Headers as subscribers see them, without those that differ per subscriber or follow from the other fields:
    /// `destination`, `message-id`, `subscription`, `ack`, `content-length`.
    pub headers: Headers,
    /// The body; a clone shares it.
    pub body: Bytes,
    /// When the node took it, as Unix time in milliseconds.
    pub sent_at: u64,
}

impl Message {
    /// A message that was taken at `sent_at` (Unix time in milliseconds).
    #[must_use]
    pub const fn new(id: ByteString, destination: ByteString, headers: Headers, body: Bytes, sent_at: u64) -> Self {
        Self { id, destination, headers, body, sent_at }
    }
}

/// Without header values and body: those are the users' own and belong in no log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("destination", &self.destination)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .field("sent_at", &self.sent_at)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_stays_out_of_debug_output() {
        let headers = [("token", "secret-header")].into_iter().collect();
        let message = Message::new("k3f9x2-1f".into(), "/topic/a".into(), headers, "secret-body".into(), 7);
        let text = format!("{message:?}");
        assert!(text.contains("k3f9x2-1f") && text.contains("body_bytes: 11"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
