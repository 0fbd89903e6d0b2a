//! Frames that are none, in every way a peer can get them wrong.

use super::{Bystanders, client};
use crate::support::client::{Client, header};
use crate::support::process::{Process, serve};
use crate::support::ws::{Event, Socket};

/// What is broken, after CONNECTED.
const BROKEN: &[(&str, &[u8])] = &[
    ("unknown command", b"SHOUT\ndestination:/topic/a\n\n\0"),
    ("no command at all", b"\0"),
    ("lower case", b"send\ndestination:/topic/a\n\n\0"),
    ("a command of servers", b"MESSAGE\ndestination:/topic/a\n\n\0"),
    ("a command line without end", &[b'A'; 2000]),
    ("a header without colon", b"SEND\ndestination\n\n\0"),
    ("a header without name", b"SEND\n:/topic/a\n\n\0"),
    ("octet 0 in the head", b"SEND\ndestination:/to\0pic/a\n\n\0"),
    ("no empty line", b"SEND\ndestination:/topic/a\n\0"),
    ("an undefined escape", b"SEND\ndestination:/topic/\\q\n\n\0"),
    ("half an escape", b"SEND\ndestination:/topic/\\\n\n\0"),
    ("a lone CR", b"SEND\ndestination:/topic/a\rb\n\n\0"),
    ("octets behind a counted body", b"SEND\ndestination:/topic/a\ncontent-length:2\n\nabc\0"),
    ("a length beyond all numbers", b"SEND\ndestination:/topic/a\ncontent-length:99999999999999999999999\n\n"),
    ("a body where none may be", b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\nbody\0"),
    ("octets between frames", b"SEND\ndestination:/topic/a\n\n\0garbage\0"),
    ("a second CONNECT", b"CONNECT\naccept-version:1.2\nhost:a\n\n\0"),
    ("a SEND that names no destination but asks", b"SEND\nreceipt:1\n\n\0"),
    ("a transaction that is not open", b"COMMIT\ntransaction:none\nreceipt:1\n\n\0"),
    ("a SEND in such a transaction", b"SEND\ndestination:/topic/a\ntransaction:none\n\n\0"),
];

/// What is broken before CONNECT.
const BROKEN_GREETINGS: &[(&str, &[u8])] = &[
    ("another command first", b"SEND\ndestination:/topic/a\n\n\0"),
    ("no version in common", b"CONNECT\naccept-version:9.9\nhost:a\n\n\0"),
    ("a body", b"CONNECT\naccept-version:1.2\nhost:a\n\nbody\0"),
    ("an HTTP request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a TLS greeting", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
];

#[track_caller]
fn told_and_closed(server: &Process, what: &str, mut at_fault: Client, octets: &[u8]) {
    at_fault.socket.binary(octets);
    let Event::Text(error) = at_fault.socket.next() else { panic!("{what}: no ERROR") };
    let error = String::from_utf8(error).unwrap();
    assert!(error.starts_with("ERROR\n"), "{what}: {error:?}");
    assert!(header(&error, "message").is_some_and(|text| !text.is_empty()), "{what}: {error:?}");
    let closed = at_fault.socket.next();
    assert!(matches!(closed, Event::Closed(1002, _)), "{what}: {closed:?}");
    server.is_well();
}

#[test]
fn whoever_breaks_a_frame_is_told_and_closed() {
    let server = serve("");
    let mut bystanders = Bystanders::new(&server);
    for (what, octets) in BROKEN {
        told_and_closed(&server, what, client(&server), octets);
        bystanders.are_undisturbed();
    }
    for (what, octets) in BROKEN_GREETINGS {
        told_and_closed(&server, what, Client::open(server.address, "/ws"), octets);
        bystanders.are_undisturbed();
    }
    drop(bystanders);
    server.until_metric("stampede_sessions_open", 0);
    assert_eq!(server.metric("stampede_subscriptions_open"), 0);
}

#[test]
fn nothing_behind_a_broken_frame_is_carried_out() {
    let server = serve("");
    let mut watcher = client(&server);
    watcher.subscribe("0", "/topic/behind");
    let mut at_fault = client(&server);
    at_fault.send("SEND\ndestination:/topic/behind\n\nbefore\0SHOUT\n\n\0SEND\ndestination:/topic/behind\n\nafter\0");
    at_fault.send("SEND\ndestination:/topic/behind\n\nlater\0");
    at_fault.error(1002);
    watcher.message("before");
    watcher.is_quiet();
}

/// Writes octets that are no WebSocket frames as they stand, and expects this close code.
#[track_caller]
fn breaks_the_transport(server: &Process, what: &str, write: impl FnOnce(&mut Socket), code: u16) {
    let mut at_fault = client(server);
    write(&mut at_fault.socket);
    // An ERROR may come first.
    let closed = loop {
        match at_fault.socket.next() {
            Event::Text(_) => {}
            other => break other,
        }
    };
    assert!(matches!(closed, Event::Closed(found, _) if found == code), "{what}: {closed:?}");
    server.is_well();
}

#[test]
fn whoever_breaks_the_transport_is_closed() {
    let server = serve("");
    let mut bystanders = Bystanders::new(&server);
    breaks_the_transport(&server, "a reserved opcode", |socket| socket.frame(true, 5, b"x"), 1002);
    breaks_the_transport(&server, "a continuation of nothing", |socket| socket.frame(true, 0, b"x"), 1002);
    breaks_the_transport(&server, "a ping in pieces", |socket| socket.frame(false, 9, b"x"), 1002);
    breaks_the_transport(&server, "a ping that is too long", |socket| socket.frame(true, 9, &[0; 126]), 1002);
    breaks_the_transport(&server, "no UTF-8", |socket| socket.text(b"SEND\n\xff\xfe\n\n\0"), 1007);
    bystanders.are_undisturbed();
    drop(bystanders);
    server.until_metric("stampede_sessions_open", 0);
}
