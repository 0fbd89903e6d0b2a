//! The clauses of SockJS, played with requests and WebSockets.
//!
//! ```text
//! play       plays a transcript
//! answers    what an answer must have
//! client     a client in a transcript
//! wrapping   the frames of SockJS in answers
//! http       a request and its answer, as octets
//! websocket  frames of WebSocket, as octets
//! features   what a server says it has
//! ```
//!
//! Nothing here knows HTTP or WebSocket from a library: a library hides what a server has wrong.

mod answers;
mod client;
mod features;
mod http;
mod play;
#[cfg(test)]
mod tests;
mod websocket;
mod wrapping;

pub(super) use features::Features;
pub(super) use play::play;

/// Settings of transcripts for SockJS.
pub(super) const SETTINGS: [&str; 2] = ["level", "needs"];

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$((
            concat!("fixtures/conformance/sockjs/", $name, ".txt"),
            include_str!(concat!("../../../fixtures/conformance/sockjs/", $name, ".txt")),
        )),*]
    };
}

/// The files of transcripts: their paths, and what is in them.
pub(super) const FILES: [(&str, &str); 16] = files![
    "greeting",
    "info",
    "iframe",
    "session_urls",
    "sessions",
    "xhr",
    "xhr_streaming",
    "eventsource",
    "htmlfile",
    "jsonp",
    "websocket",
    "raw_websocket",
    "json",
    "http",
    "cookies",
    "origins",
];
