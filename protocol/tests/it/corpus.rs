//! The fuzz targets over their saved corpus: what they once found stays fixed, and the targets cannot rot.

use std::fs;
use std::path::Path;

use crate::Shown;
use crate::checks::{decoder_input, round_trip_input, sockjs_input};

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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let _shown = Shown(&path);
        check(&fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "no input in {}", folder.display());
}
