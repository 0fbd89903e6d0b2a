//! What clients of Spring's simple broker can observe, P1 to P90; `docs/differences.md` says where it differs on purpose.

mod closing;
mod handshake;
mod sockjs;

use crate::support::server::Shared;
use crate::support::transcript::play_all;

static PROFILE_A: Shared = Shared::new(include_str!("../../../fixtures/transcripts/spring-a.toml"));
static PROFILE_B: Shared = Shared::new(include_str!("../../../fixtures/transcripts/spring-b.toml"));

#[track_caller]
fn play(server: &Shared, file: &str) {
    play_all(server.get().address, &format!("fixtures/transcripts/spring/{file}"), &["/ws"]);
}

#[test]
fn session() {
    play(&PROFILE_A, "session.txt");
}

#[test]
fn messages() {
    play(&PROFILE_A, "messages.txt");
}

#[test]
fn users() {
    play(&PROFILE_A, "users.txt");
}

#[test]
fn article() {
    play(&PROFILE_B, "article.txt");
}
