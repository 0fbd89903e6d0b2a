//! The transcripts that come with the binary.

use super::script::{Section, parse};
use super::{play, requests};

/// A file of transcripts.
#[derive(Debug)]
pub struct File {
    /// Its path in the sources.
    pub path: &'static str,
    /// What is in it.
    pub section: Section,
}

macro_rules! files {
    ($settings:expr, $folder:literal: $($name:literal),* $(,)?) => {
        vec![$(File {
            path: concat!("fixtures/conformance/", $folder, "/", $name, ".txt"),
            section: parse(
                include_str!(concat!("../../fixtures/conformance/", $folder, "/", $name, ".txt")),
                &$settings,
            ),
        }),*]
    };
}

/// The clauses of STOMP.
#[must_use]
pub fn stomp() -> Vec<File> {
    files![
        play::SETTINGS, "stomp": "frames", "escapes", "padding", "length", "connect", "versions", "heart_beats", "send",
        "subscribe", "acknowledge", "transactions", "receipts", "disconnect", "server_frames", "websocket",
    ]
}

/// What SockJS asks of a server.
#[must_use]
pub fn sockjs() -> Vec<File> {
    requests::FILES.iter().map(|&(path, text)| File { path, section: parse(text, &requests::SETTINGS) }).collect()
}
