//! What carries STOMP from a client to a server.

use std::fmt;
use std::str::FromStr;

/// A way for STOMP to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// A TCP connection, as the STOMP documents have it.
    Tcp,
    /// A WebSocket.
    WebSocket,
    /// SockJS's frames in a WebSocket.
    SockJs,
    /// SockJS: one long answer.
    XhrStreaming,
    /// SockJS: one answer for each message.
    XhrPolling,
    /// SockJS: server-sent events.
    EventSource,
    /// SockJS: a page that never ends.
    HtmlFile,
    /// SockJS: scripts.
    JsonpPolling,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Tcp,
        Self::WebSocket,
        Self::SockJs,
        Self::XhrStreaming,
        Self::XhrPolling,
        Self::EventSource,
        Self::HtmlFile,
        Self::JsonpPolling,
    ];

    /// What it is called here and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
            Self::SockJs => "sockjs",
            Self::XhrStreaming => "xhr-streaming",
            Self::XhrPolling => "xhr-polling",
            Self::EventSource => "eventsource",
            Self::HtmlFile => "htmlfile",
            Self::JsonpPolling => "jsonp-polling",
        }
    }

    /// Whether SockJS's frames are around STOMP.
    #[must_use]
    pub fn is_sockjs(self) -> bool {
        !matches!(self, Self::Tcp | Self::WebSocket)
    }

    /// Whether the server hears of a client only now and then.
    #[must_use]
    pub fn polls(self) -> bool {
        matches!(self, Self::XhrPolling | Self::JsonpPolling)
    }

    /// Whether a client can send octets that are no text.
    #[must_use]
    pub fn carries_octets(self) -> bool {
        !self.is_sockjs()
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Carrier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|carrier| carrier.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} carries no STOMP here; one of {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for carrier in Carrier::ALL {
            assert_eq!(carrier.to_string().parse(), Ok(carrier));
        }
        assert!("smoke".parse::<Carrier>().unwrap_err().contains("xhr-streaming"));
    }
}
