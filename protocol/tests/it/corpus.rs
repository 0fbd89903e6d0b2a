//! The fuzz targets over their saved corpus: what they once found stays fixed, and the targets cannot rot.

use std::path::Path;

use crate::checks::{decoder_input, round_trip_input, sockjs_input};
use crate::replay;

#[test]
fn stomp_decoder_corpus() {
    replay("stomp_decoder", decoder_input);
}

#[test]
fn stomp_round_trip_corpus() {
    replay("stomp_roundtrip", round_trip_input);
}

#[test]
fn sockjs_input_corpus() {
    replay("sockjs_input", sockjs_input);
}

fn replay(target: &str, check: fn(&[u8])) {
    replay::replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target), check);
}
