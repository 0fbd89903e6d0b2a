//! Plays what SockJS asks.

use super::play::Stop;
use super::script::Transcript;
use super::server::Server;

pub(super) const SETTINGS: [&str; 0] = [];
pub(super) const FILES: [(&str, &str); 0] = [];

pub(super) async fn play(_: &Server, _: &Transcript) -> Result<(), Stop> {
    Ok(())
}
