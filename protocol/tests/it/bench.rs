//! The work that the benches measure does what it says.

#[path = "../../benches/codec/work.rs"]
mod work;

use work::{FanOut, chat, decode, encode_into, wire};

#[test]
fn decoding_counts_every_frame_in_pieces_of_any_size() {
    let wire = wire(3);
    for piece in [1, 16, 1460, wire.len()] {
        assert_eq!(decode(&wire, piece), 3, "{piece}");
    }
}

#[test]
fn encoding_writes_the_frame_that_is_decoded() {
    let mut out = Vec::new();
    assert_eq!(encode_into(&chat(), &mut out), wire(1).len());
}

#[test]
fn a_template_writes_what_encoding_each_head_writes() {
    let (mut templated, mut each) = (Vec::new(), Vec::new());
    let fan_out = FanOut::to(2);
    assert_eq!(fan_out.write(&mut templated, false), fan_out.write_each(&mut each));
    assert_eq!(templated, each);
    assert!(fan_out.write(&mut templated, true) > 2 * chat().body.len());
}
