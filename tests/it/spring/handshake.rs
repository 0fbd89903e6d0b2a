//! The WebSocket handshake and the size of messages.

use super::{PROFILE_A, PROFILE_B};
use crate::support::client::{Client, header, topic};
use crate::support::ws::{handshake, request};

/// Method, path, headers; status and body.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], u16, &'static str);

#[test]
fn p80_handshakes_are_answered_as_spring_does() {
    let server = PROFILE_A.get();
    let cases: [Case; 12] = [
        ("GET", "/ws", &[], 101, ""),
        ("POST", "/ws", &[], 405, ""),
        // At /ws itself this is a question to SockJS, which shares the path.
        ("GET", "/ws/websocket", &[("Upgrade", "h2c")], 400, "Can \"Upgrade\" only to \"WebSocket\"."),
        ("GET", "/ws", &[("Connection", "keep-alive")], 400, "\"Connection\" must be \"upgrade\"."),
        ("GET", "/ws", &[("Sec-WebSocket-Key", "")], 400, ""),
        ("GET", "/ws", &[("Sec-WebSocket-Version", "8")], 426, ""),
        ("GET", "/ws", &[("Sec-WebSocket-Version", "")], 426, ""),
        ("GET", "/ws", &[("Origin", "http://localhost")], 101, ""),
        ("GET", "/ws", &[("Origin", "http://elsewhere.example")], 403, ""),
        ("GET", "/ws", &[("Origin", "http://localhost:1")], 403, ""),
        ("GET", "/ws", &[("Origin", "null")], 403, ""),
        ("GET", "/elsewhere", &[], 404, "Nothing is here.\n"),
    ];
    for (method, path, headers, status, body) in cases {
        let (response, _) = request(server.address, &handshake(method, path, headers));
        assert_eq!((response.status, &*response.body), (status, body), "{method} {path} {headers:?}");
        if status == 426 {
            assert_eq!(response.header("sec-websocket-version"), Some("13"));
        }
        if status == 405 {
            assert!(response.header("allow").is_some_and(|allow| allow.contains("GET")), "{response:?}");
        }
    }
}

#[test]
fn p83_every_origin_is_taken_where_the_configuration_says_so() {
    let server = PROFILE_B.get();
    let foreign = [("Origin", "http://elsewhere.example")];
    let (response, _) = request(server.address, &handshake("GET", "/ws", &foreign));
    assert_eq!(response.status, 101);
}

#[test]
fn p81_subprotocols() {
    let server = PROFILE_A.get();
    for (offer, chosen) in [
        ("foo, v11.stomp", Some("v11.stomp")),
        ("V12.STOMP", Some("V12.STOMP")),
        ("v10.stomp, v11.stomp, v12.stomp", Some("v12.stomp")),
        ("foo", None),
        ("", None),
    ] {
        let (response, _) = request(server.address, &handshake("GET", "/ws", &[("Sec-WebSocket-Protocol", offer)]));
        assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, chosen), "{offer:?}");
    }
}

#[test]
fn p76_p77_p78_what_is_too_large_for_spring_passes() {
    let server = PROFILE_A.get();
    let topic = topic();
    let mut client = Client::connect(server.address, "/ws", "1.2", &[]);
    client.subscribe("1", &topic);
    for size in [16_641, 65_537, 1 << 20] {
        let frame = format!("SEND\ndestination:{topic}\ncontent-length:{size}\n\n{}\0", "x".repeat(size));
        // In one message, and in pieces.
        client.send(&frame);
        assert_eq!(header(&client.expect("MESSAGE"), "content-length"), Some(&*size.to_string()));
        for piece in frame.as_bytes().chunks(16_000) {
            client.socket.text(piece);
        }
        assert_eq!(header(&client.expect("MESSAGE"), "content-length"), Some(&*size.to_string()));
    }
    client.send(&format!("SEND\ndestination:{topic}\ncontent-length:1048577\n\n"));
    client.error(1002);
}
