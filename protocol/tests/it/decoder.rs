//! The decoder case by case, where a fixture cannot say it: several feeds, texts of limits, changes under way.

use bytes::Bytes;
use stampede_protocol::Limits;
use stampede_protocol::stomp::{Command, Decoder, Fault, FaultKind, Frame, Item, Version};

#[test]
fn line_ends_are_a_heart_beat_only_where_they_are_news() {
    let mut decoder = Decoder::new(Limits::default());
    assert_eq!(decode(&mut decoder, b"\n\r\n\n").unwrap(), [Item::HeartBeat]);
    assert_eq!(decode(&mut decoder, b"\r").unwrap(), []);
    assert_eq!(decode(&mut decoder, b"\n").unwrap(), [Item::HeartBeat]);
    assert_eq!(decode(&mut decoder, b"ABORT\n\n\0\n\n").unwrap(), [Item::Frame(Frame::new(Command::Abort))]);
    assert_eq!(decode(&mut decoder, b"\nABORT\n\n\0").unwrap().len(), 2);
}

#[test]
fn after_a_fault_there_is_nothing_but_the_fault() {
    let mut decoder = Decoder::new(Limits::default());
    let fault = decode(&mut decoder, b"HELLO\n\n\0").unwrap_err();
    assert_eq!(fault.kind, FaultKind::UnknownCommand);
    assert_eq!(decode(&mut decoder, b"ABORT\n\n\0").unwrap_err(), fault);
    assert_eq!(decoder.buffered_bytes(), 0);
}

#[test]
fn unread_octets_are_joined_with_what_is_fed_next() {
    let mut decoder = Decoder::new(Limits::default());
    for piece in [&b"ABO"[..], b"RT\n\n", b"\0ABORT\n\n\0"] {
        decoder.feed(Bytes::from_static(piece));
    }
    assert_eq!(decode(&mut decoder, b"\n").unwrap().len(), 2);
}

#[test]
fn faults_name_limit_and_actual_value() {
    let limits = Limits { head_bytes: 100, headers: 3, header_line_bytes: 40, body_bytes: 10 };
    let long = format!("SEND\nk:{}\n\n\0", "v".repeat(60));
    for (wire, text) in [
        (long.as_str(), "header line of 62 octets is over the limit of 40"),
        (&long[..60], "unfinished header line of 55 octets is over the limit of 40"),
        ("SEND\na:\nb:\nc:\nd:\n\n\0", "frame of 4 headers or more is over the limit of 3"),
        ("SEND\ncontent-length:2000000000\n\n", "content-length of 2000000000 octets is over the limit of 10"),
        ("SEND\n\nhello hello\0", "body of 11 octets is over the limit of 10"),
        ("SEND\n\nhello hello hello", "unfinished body of 17 octets is over the limit of 10"),
        ("SUBSCRIBE\n\nx", "SUBSCRIBE shouldn't have a body"),
        ("COMMIT\ncontent-length:1\n\n", "COMMIT shouldn't have a body"),
    ] {
        let mut decoder = Decoder::new(limits);
        decoder.feed(Bytes::copy_from_slice(wire.as_bytes()));
        assert_eq!(decoder.next().unwrap_err().to_string(), text);
    }
}

fn decode(decoder: &mut Decoder, wire: &'static [u8]) -> Result<Vec<Item>, Fault> {
    decoder.feed(Bytes::from_static(wire));
    std::iter::from_fn(|| decoder.next().transpose()).collect()
}

#[test]
fn version_and_limits_hold_from_the_next_frame_on() {
    let mut decoder = Decoder::new(Limits::before_connected());
    decoder.feed(Bytes::from_static(b"CONNECT\naccept-version:1.0\n\n\0SEND\nk:a\\b\n\nbody\0"));
    assert!(matches!(decoder.next(), Ok(Some(Item::Frame(frame))) if frame.command == Command::Connect));
    decoder.set_version(Version::V1_0);
    decoder.set_limits(Limits::default());
    let Ok(Some(Item::Frame(frame))) = decoder.next() else { panic!("read by the rules of 1.0") };
    assert_eq!((frame.header("k").unwrap(), &frame.body[..]), (&"a\\b".into(), &b"body"[..]));
}
