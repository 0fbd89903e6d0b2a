//! What holds for all frames and all octets.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use stampede_protocol::stomp::{Frame, Headers, Item, Version, encode};

use crate::checks::{
    CLIENT_COMMANDS, Setup, comes_back, decode, decoder_input, round_trip_input, same_at_cut, same_by_octets,
};

proptest! {
    #[test]
    fn a_frame_written_and_read_is_the_same(frame in frame(), version in version()) {
        comes_back(Setup::at(version), version, &frame);
    }

    #[test]
    fn a_frame_of_1_0_within_its_means_is_the_same(frame in plain_frame()) {
        let mut wire = Vec::new();
        encode(&frame, Version::V1_0, &mut wire);
        let mut items = decode(Setup::at(Version::V1_0), [&wire[..]]).items;
        if let Some(Item::Frame(back)) = items.first_mut() {
            back.headers.remove_all(&["content-length"]);
        }
        prop_assert_eq!(items, [Item::Frame(frame)]);
    }

    #[test]
    fn frames_are_the_same_whatever_the_cut(
        frames in vec(frame(), 1..4), version in version(), cut in any::<proptest::sample::Index>(),
    ) {
        let mut wire = b"\n".to_vec();
        for frame in &frames {
            encode(frame, version, &mut wire);
            wire.extend_from_slice(b"\r\n\n");
        }
        let setup = Setup::at(version);
        prop_assert_eq!(decode(setup, [&wire[..]]).fault, None);
        same_at_cut(setup, &wire, cut.index(wire.len() + 1));
        same_by_octets(setup, &wire);
    }

    #[test]
    fn any_octets_are_read_within_bounds_or_refused(data in vec(any::<u8>(), 0..300)) {
        decoder_input(&data);
        round_trip_input(&data);
    }

    #[test]
    fn anything_like_a_frame_is_read_within_bounds_or_refused(
        flags in any::<[u8; 3]>(), parts in vec(select(PARTS), 0..40),
    ) {
        let wire: Vec<u8> = parts.concat();
        decoder_input(&[&flags[..], &wire].concat());
        round_trip_input(&[&flags[..1], &wire].concat());
    }
}

/// What frames are made of, and what breaks them.
const PARTS: &[&[u8]] = &[
    b"SEND",
    b"SUBSCRIBE",
    b"CONNECT",
    b"MESSAGE",
    b"\n",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\0",
    b"destination:/t\n",
    b"content-length:3\n",
    b"content-length:",
    b"receipt:r\n",
    b"k:v\n",
    b":",
    b"\\n",
    b"\\c",
    b"\\r",
    b"\\\\",
    b"\\",
    b" ",
    b"abc",
    b"\xc3\xa9",
    b"\xff",
    b"9",
    b"x",
];

fn version() -> impl Strategy<Value = Version> {
    select(&Version::ALL[..])
}

fn frame() -> impl Strategy<Value = Frame> {
    frame_of("[^\0]{1,12}", "[^\0]{0,24}")
}

/// Only what 1.0 can express.
fn plain_frame() -> impl Strategy<Value = Frame> {
    frame_of("[^\0\r\n:]{1,12}", "([^\0\r\n ][^\0\r\n]{0,24})?")
}

fn frame_of(name: &'static str, value: &'static str) -> impl Strategy<Value = Frame> {
    let headers = vec((name, value), 0..6).prop_map(|entries| {
        let mut headers: Headers = entries.into_iter().collect();
        headers.remove_all(&["content-length"]);
        headers
    });
    (select(&CLIENT_COMMANDS[..]), headers, vec(any::<u8>(), 0..40)).prop_map(|(command, headers, body)| Frame {
        command,
        headers,
        body: if command.may_have_body() { Bytes::from(body) } else { Bytes::new() },
    })
}
