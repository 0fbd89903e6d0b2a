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

use futures_util::StreamExt as _;

use super::script::{Section, parse};
use super::server::Server;
use super::verdict::Outcome;
pub(super) use features::Features;
pub(super) use play::play;

/// Settings of transcripts for SockJS.
pub(super) const SETTINGS: [&str; 2] = ["level", "needs"];

/// The files of `fixtures/conformance/sockjs`.
pub(super) const FILES: [(&str, &str); 16] = [
    ("greeting", include_str!("../../../fixtures/conformance/sockjs/greeting.txt")),
    ("info", include_str!("../../../fixtures/conformance/sockjs/info.txt")),
    ("iframe", include_str!("../../../fixtures/conformance/sockjs/iframe.txt")),
    ("session_urls", include_str!("../../../fixtures/conformance/sockjs/session_urls.txt")),
    ("sessions", include_str!("../../../fixtures/conformance/sockjs/sessions.txt")),
    ("xhr", include_str!("../../../fixtures/conformance/sockjs/xhr.txt")),
    ("xhr_streaming", include_str!("../../../fixtures/conformance/sockjs/xhr_streaming.txt")),
    ("eventsource", include_str!("../../../fixtures/conformance/sockjs/eventsource.txt")),
    ("htmlfile", include_str!("../../../fixtures/conformance/sockjs/htmlfile.txt")),
    ("jsonp", include_str!("../../../fixtures/conformance/sockjs/jsonp.txt")),
    ("websocket", include_str!("../../../fixtures/conformance/sockjs/websocket.txt")),
    ("raw_websocket", include_str!("../../../fixtures/conformance/sockjs/raw_websocket.txt")),
    ("json", include_str!("../../../fixtures/conformance/sockjs/json.txt")),
    ("http", include_str!("../../../fixtures/conformance/sockjs/http.txt")),
    ("cookies", include_str!("../../../fixtures/conformance/sockjs/cookies.txt")),
    ("origins", include_str!("../../../fixtures/conformance/sockjs/origins.txt")),
];

/// All transcripts, file by file.
pub(super) fn sections() -> Vec<(&'static str, Section)> {
    FILES.iter().map(|(name, text)| (*name, parse(text, &SETTINGS))).collect()
}

/// How many are played at the same time: most of them wait most of their time.
const AT_A_TIME: usize = 8;

/// Plays all of them; gives the id of each, and how it went.
///
/// # Errors
///
/// Where there is no SockJS.
pub async fn all(server: &Server) -> Result<Vec<(String, Outcome)>, String> {
    let features = Features::ask(server).await?;
    let plays = sections().into_iter().flat_map(|(_, section)| section.transcripts).map(|transcript| async move {
        let outcome = match features.obstacle(&transcript, server.slow) {
            Some(why) => Outcome::NotApplicable(why),
            None => play(server, &transcript).await.map_or_else(Outcome::Failed, |()| Outcome::Passed),
        };
        (transcript.clauses.first().cloned().unwrap_or_default(), outcome)
    });
    Ok(futures_util::stream::iter(plays).buffered(AT_A_TIME).collect().await)
}
