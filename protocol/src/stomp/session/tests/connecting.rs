//! CONNECTED to the octet, and what the session knows afterwards.

use std::time::Duration;

use super::*;
use crate::stomp::{Agreed, encode};

const SPRING: HeartBeat = HeartBeat { can_ms: 2000, want_ms: 2000 };

fn connected(config: &SessionConfig, connect: &str, user: Option<&str>) -> (Session<String>, Vec<u8>) {
    let mut session = Session::new();
    let request = session.handle(config, frame("CONNECT", connect)).expect("a good CONNECT");
    assert!(matches!(request, Request::Connect(_)) && !session.is_connected());
    let frame = session.accept(config, user, "n1-5");
    assert!(session.is_connected());
    let mut wire = Vec::new();
    encode(&frame, session.version(), &mut wire);
    (session, wire)
}

#[test]
fn connected_is_springs_to_the_octet() {
    let config = SessionConfig { heart_beat: SPRING, ..SessionConfig::default() };
    for (connect, user, expected) in [
        // B06, P10: the server's own pair, whatever the client asked for.
        ("accept-version:1.2 heart-beat:4000,4000", None, "CONNECTED\nversion:1.2\nheart-beat:2000,2000\n\n\0"),
        ("accept-version:1.1", None, "CONNECTED\nversion:1.1\nheart-beat:2000,2000\n\n\0"),
        // P6, P7: the user last, never escaped.
        (
            "accept-version:1.2",
            Some("bo:b\\c"),
            "CONNECTED\nversion:1.2\nheart-beat:2000,2000\nuser-name:bo:b\\c\n\n\0",
        ),
        // C06: the one addition, for the sessions that Spring never answers.
        ("", Some("bob"), "CONNECTED\nversion:1.0\nheart-beat:2000,2000\nuser-name:bob\nsession:n1-5\n\n\0"),
    ] {
        let (_, wire) = connected(&config, connect, user);
        assert_eq!(String::from_utf8_lossy(&wire), expected, "{connect}");
    }
}

#[test]
fn a_user_name_cannot_add_a_header() {
    let (_, wire) = connected(&SessionConfig::default(), "accept-version:1.2", Some("bob\nversion:1.0\0"));
    let wire = String::from_utf8_lossy(&wire);
    assert_eq!(wire.lines().filter(|line| line.starts_with("version:")).count(), 1, "{wire}");
    assert!(wire.ends_with("\n\n\0") && wire.matches('\0').count() == 1, "{wire}");
}

#[test]
fn a_server_name_with_a_colon_is_left_out() {
    let server = Some(ByteString::from_static("a:b"));
    let config = SessionConfig { strict: true, server, ..SessionConfig::default() };
    let (_, wire) = connected(&config, "accept-version:1.2", None);
    assert_eq!(String::from_utf8_lossy(&wire), "CONNECTED\nversion:1.2\nheart-beat:0,0\nsession:n1-5\n\n\0");
}

#[test]
fn heart_beats_are_agreed_on_with_connected() {
    let seconds = |count| Some(Duration::from_secs(count));
    for (clause, connect, send_every, expect_every) in [
        ("B02", "accept-version:1.2", None, None),
        ("B03", "accept-version:1.2 heart-beat:0,1000", seconds(2), None),
        ("B04", "accept-version:1.2 heart-beat:1000,0", None, seconds(2)),
        ("B05", "accept-version:1.1 heart-beat:3000,4000", seconds(4), seconds(3)),
        ("B15", "heart-beat:3000,4000", seconds(4), seconds(3)),
    ] {
        let config = SessionConfig { heart_beat: SPRING, ..SessionConfig::default() };
        let (session, _) = connected(&config, connect, None);
        assert_eq!(session.agreed(), Agreed { send_every, expect_every }, "{clause}");
    }
}

#[test]
fn v05_the_error_of_a_failed_negotiation_lists_the_versions() {
    let mut session = Session::<String>::new();
    let fault = session.handle(&SessionConfig::default(), frame("CONNECT", "accept-version:2.1")).expect_err("V04");
    assert_eq!(fault.to_frame().header("version").map(|list| &**list), Some("1.0,1.1,1.2"));
}

#[test]
fn debug_does_not_show_credentials() {
    let mut session = Session::<String>::new();
    let connect = frame("CONNECT", "accept-version:1.2 login:bob passcode:s3cret Authorization:s3cret");
    let request = session.handle(&SessionConfig::default(), connect).expect("a good CONNECT");
    let text = format!("{request:?} {session:?}");
    assert!(text.contains("bob") && !text.contains("s3cret"), "{text}");
}

#[test]
fn an_idle_session_is_small() {
    // Two of these per subscription would already be more than the session itself.
    assert!(size_of::<Session<u64>>() <= 128, "{}", size_of::<Session<u64>>());
}
