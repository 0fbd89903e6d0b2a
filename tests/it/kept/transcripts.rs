use crate::support::server::Shared;
use crate::support::transcript::play_all;

static SERVER: Shared = Shared::new(include_str!("../../../fixtures/transcripts/kept.toml"));

#[test]
fn mailboxes() {
    play_all(SERVER.get().address, "fixtures/transcripts/kept/mailboxes.txt", &["/ws"]);
}
