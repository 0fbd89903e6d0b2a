//! The clauses of STOMP 1.0, 1.1 and 1.2, and of its carriage over WebSocket.
//!
//! Most stand in `fixtures/transcripts/stomp`; what a transcript cannot say is a test here, named after its clauses.

mod coverage;
mod limits;
mod streams;
mod time;
mod work_queues;

use crate::support::server::Shared;
use crate::support::transcript::play_all;

/// `/ws` serves as Spring does, `/strict` by the text.
static SERVER: Shared = Shared::new(include_str!("../../../fixtures/transcripts/stomp.toml"));

const ENDPOINTS: [&str; 2] = ["/ws", "/strict"];

macro_rules! transcripts {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            let file = concat!("fixtures/transcripts/stomp/", stringify!($name), ".txt");
            play_all(SERVER.get().address, file, &ENDPOINTS);
        }
    )*};
}

transcripts!(frames, escapes, padding, length, connect, versions, heart_beats, send, subscribe);
transcripts!(acknowledge, transactions, receipts, disconnect, server_frames, websocket);
